"""Who may call: client token, callers, quotas, and answers that should not be given twice."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request

from services.kit import access, door
from weakened.registry import control, replace


@control("client-token")
def client_token() -> None:
    """Everybody is the client."""

    async def let_everybody_in(_request: Request, _token: access.ClientToken) -> str:
        return access.CLIENT

    replace(access, "require_client", let_everybody_in)


@control("service-token")
def service_token() -> None:
    """A request comes from the gateway, with a token or without."""

    async def believe() -> str:
        return "gateway"

    async def let_pass(self: Any, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        await self._app(scope, receive, send)

    replace(access, "require_service", believe)
    replace(door.ServiceTokenMiddleware, "__call__", let_pass)


@control("caller-authorization")
def caller_authorization() -> None:
    """Whoever has a token may call everything."""

    def require_anybody(*_callers: str) -> Callable[[str], Awaitable[str]]:
        async def check(caller: Annotated[str, Depends(access.require_service)]) -> str:
            return caller

        return check

    replace(access, "require_only", require_anybody)


@control("quota")
def quota() -> None:
    """No cap is ever reached."""
    from services.model_router import quotas

    replace(quotas, "exceeded", lambda _quota, _used: None)


@control("idempotency")
def idempotency() -> None:
    """Every request makes a job of its own."""
    from services.control_plane import store

    add_job: Any = store.add_job

    def add(connection: Any, new: Any, _key: str | None) -> Any:  # noqa: ANN401 - passed on
        return add_job(connection, new, None)

    replace(store, "add_job", add)


@control("session-state")
def session_state() -> None:
    """A session that was destroyed lives on."""
    from dataclasses import replace as changed

    from services.sessions import lifecycle, store

    def never_ended(row: Any, _now: float) -> Any:  # noqa: ANN401 - a row
        return changed(row, state="active", ended_at=None)

    replace(lifecycle, "at", never_ended)
    if hasattr(store, "at"):
        replace(store, "at", never_ended)
