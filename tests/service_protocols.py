"""What the fixtures of tests/services give: types to annotate tests with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.applications import Starlette

    from services.kit.settings import Settings

START_SECONDS = 20.0


@dataclass(frozen=True)
class Served:
    """A service that answers on a real port of its own."""

    url: str
    app: Starlette
    stop: Callable[[], None]


class Serve(Protocol):
    """`serve(app)` starts a service; `serve(app, port=...)` starts it where it was."""

    def __call__(self, app: Starlette, port: int = 0) -> Served: ...


class Eventually(Protocol):
    """`eventually(condition)` waits until the condition is met."""

    def __call__(self, met: Callable[[], bool], seconds: float = START_SECONDS) -> None: ...


class ServiceToken(Protocol):
    """`service_token(caller, audience, method, path)` signs one request."""

    def __call__(self, caller: str, audience: str, method: str, path: str) -> str: ...


class SettingsFor(Protocol):
    """`settings_for(service, urls={...}, ...)`: the settings of a service, with changes."""

    def __call__(
        self, service: str, urls: Mapping[str, str] | None = None, **changes: object
    ) -> Settings: ...
