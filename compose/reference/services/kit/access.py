"""Who may call an operation: FastAPI dependencies over the two kinds of token."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from services.kit.door import CALLER, ServiceTokenMiddleware
from services.kit.errors import ServiceError
from services.kit.keyring import PublicKeys
from services.kit.nonces import NonceStore, NonceStoreError
from services.kit.settings import Settings, SettingsError
from services.kit.tokens import TokenVerifier

SERVICE_HEADER = "X-Service-Token"
CLIENT = "client"

_service_token = APIKeyHeader(name=SERVICE_HEADER, scheme_name="ServiceToken", auto_error=False)
_client_token = HTTPBearer(scheme_name="ClientToken", auto_error=False)

ServiceToken = Annotated[str | None, Depends(_service_token)]
ClientToken = Annotated[HTTPAuthorizationCredentials | None, Depends(_client_token)]


def install(app: FastAPI, settings: Settings) -> None:
    """Let this app judge service tokens: load the public keys, open the replay store.

    Raises:
        SettingsError: `services.prepare` has not made the keys, or the state folder can't
            be written.
    """
    try:
        nonces = NonceStore(
            settings.state_folder / "nonces",
            settings.service,
            leeway_seconds=settings.token_leeway_seconds,
        )
    except NonceStoreError as problem:
        raise SettingsError(f"{problem}: check STATE_FOLDER") from problem
    keys = PublicKeys(settings.keys_folder)
    verifier = TokenVerifier(settings.service, keys, nonces, settings.token_leeway_seconds)
    app.state.token_verifier = verifier
    app.add_middleware(ServiceTokenMiddleware, verifier=verifier)


def ready_check(app: FastAPI) -> Callable[[], Awaitable[None]]:
    """Whether the replay store can be written: without it no service is let in."""
    verifier: TokenVerifier = app.state.token_verifier

    async def check() -> None:
        verifier.nonces.check()

    return check


async def require_service(request: Request, _token: ServiceToken) -> str:
    """The name of the calling service; 401 without a token made for this very request."""
    # The door has judged the token, with the body; it leaves no name where it did not.
    caller: str | None = request.scope.get(CALLER)
    if caller is None:
        raise ServiceError(401, "no service token: call through the gateway")
    return caller


async def require_client(request: Request, credentials: ClientToken) -> str:
    """Lets the holder of the client token in; 401 for everybody else."""
    settings: Settings = request.app.state.settings
    offered = credentials.credentials.encode() if credentials else b""
    known = settings.client_token.encode()
    # A service that was told no token lets nobody in: two empty texts are equal, too.
    if not known or not hmac.compare_digest(offered, known):
        raise ServiceError(401, "no valid client token: send Authorization: Bearer <token>")
    return CLIENT


async def require_caller(request: Request, token: ServiceToken, credentials: ClientToken) -> str:
    """A service or the client, whichever token was sent; a service token is judged alone."""
    if token is not None:
        return await require_service(request, token)
    return await require_client(request, credentials)


def require_only(*callers: str) -> Callable[[str], Awaitable[str]]:
    """A dependency that lets the named services in and answers 403 to the others."""

    async def check(caller: Annotated[str, Depends(require_service)]) -> str:
        if caller not in callers:
            raise ServiceError(403, f"{caller} may not call this: it is for {', '.join(callers)}")
        return caller

    return check
