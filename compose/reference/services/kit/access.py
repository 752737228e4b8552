"""Who may call an operation: FastAPI dependencies over the two kinds of token."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer

from services.kit.errors import ServiceError
from services.kit.keys import read_public_keys
from services.kit.logs import warn
from services.kit.settings import Settings
from services.kit.tokens import TokenRefusedError, TokenVerifier

SERVICE_HEADER = "X-Service-Token"
CLIENT = "client"

_service_token = APIKeyHeader(name=SERVICE_HEADER, scheme_name="ServiceToken", auto_error=False)
_client_token = HTTPBearer(scheme_name="ClientToken", auto_error=False)

ServiceToken = Annotated[str | None, Depends(_service_token)]
ClientToken = Annotated[HTTPAuthorizationCredentials | None, Depends(_client_token)]


def install(app: FastAPI, settings: Settings) -> None:
    """Load the public keys that this app checks service tokens with.

    Raises:
        SettingsError: `services.prepare` has not made them.
    """
    app.state.token_verifier = TokenVerifier(
        settings.service, read_public_keys(settings.keys_folder)
    )


async def require_service(request: Request, token: ServiceToken) -> str:
    """The name of the calling service; 401 without a token made for this very request."""
    if not token:
        raise ServiceError(401, "no service token: call through the gateway")
    verifier: TokenVerifier = request.app.state.token_verifier
    try:
        return verifier.verify(token, request.method, request.scope["path"])
    except TokenRefusedError as problem:
        warn("service token refused", reason=str(problem))
        raise ServiceError(401, "the service token was refused: sign a new one") from problem


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
    if token:
        return await require_service(request, token)
    return await require_client(request, credentials)


def require_only(*callers: str) -> Callable[[str], Awaitable[str]]:
    """A dependency that lets the named services in and answers 403 to the others."""

    async def check(caller: Annotated[str, Depends(require_service)]) -> str:
        if caller not in callers:
            raise ServiceError(403, f"{caller} may not call this: it is for {', '.join(callers)}")
        return caller

    return check
