"""Where traffic goes: the addresses and secrets of a running system."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stack.runtime import Runtime


@dataclass(frozen=True)
class Target:
    """A running system.

    Args:
        urls: service name to base URL, without a final slash.
        secrets: values of the stack's secrets, for headers; never for evidence.
        clean: takes secrets out of a text, before it is cut to fit an error line.
    """

    urls: Mapping[str, str]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    clean: Callable[[str], str] = str


def target_of(runtime: Runtime, clean: Callable[[str], str] = str) -> Target:
    """The system that a runtime has started."""
    urls = {service.name: service.url for service in runtime.stack.services}
    return Target(urls, runtime.secrets, clean)
