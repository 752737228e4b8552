"""Which function switches off which control."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Switch = Callable[[], None]

_SWITCHES: dict[str, Switch] = {}


class NotThereError(Exception):
    """A control, or the code that it is made of, that there is not."""


def control(name: str) -> Callable[[Switch], Switch]:
    """Register the function that switches off the control of that name."""

    def register(switch: Switch) -> Switch:
        _SWITCHES[name] = switch
        return switch

    return register


def controls() -> tuple[str, ...]:
    """Every control that can be switched off."""
    import weakened

    for item in pkgutil.iter_modules(weakened.__path__):
        if item.name != "__main__":
            importlib.import_module(f"weakened.{item.name}")
    return tuple(sorted(_SWITCHES))


def switch_off(name: str) -> None:
    """Replace a control, before the service is imported.

    Raises:
        NotThereError: unknown, or its code is not where it was.
    """
    known = controls()
    if name not in known:
        raise NotThereError(f"expected one of {', '.join(known)}, got {name!r}")
    _SWITCHES[name]()


def replace(owner: object, name: str, value: Any) -> Any:  # noqa: ANN401 - whatever stands there
    """Put `value` in the place of what is there, and give that back.

    Raises:
        NotThereError: nothing is there: a control that has moved would be left on.
    """
    if not hasattr(owner, name):
        where = getattr(owner, "__name__", type(owner).__name__)
        raise NotThereError(f"{where} has no {name} any more: adapt the package `weakened`")
    original = getattr(owner, name)
    setattr(owner, name, value)
    return original
