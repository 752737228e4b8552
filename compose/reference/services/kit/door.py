"""Judges service tokens before anything of the request is parsed; the body is part of them.

A request without the header passes on as it is: the operation itself says no, or lets the
client in (`access`). With the header, the body is read within its limit, hashed, and
handed on whole.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from services.kit.errors import error_response
from services.kit.logs import warn
from services.kit.middleware import BODY_LIMIT_BYTES, too_large
from services.kit.nonces import NonceStoreError
from services.kit.tokens import Target, TokenRefusedError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from services.kit.tokens import TokenVerifier

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json"})
# Where the name of the calling service stands in the scope of a request that got in.
CALLER = "services.caller"
_HEADER = b"x-service-token"


class ServiceTokenMiddleware:
    """Lets a request with a service token in if the token was made for this very request."""

    def __init__(self, app: ASGIApp, verifier: TokenVerifier) -> None:
        """Guard `app`."""
        self._app = app
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through, or answer 401; 503 where nobody can know."""
        tokens = [value for name, value in scope.get("headers", ()) if name == _HEADER]
        if not tokens or scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        scope.pop(CALLER, None)
        try:
            body = await self._admit(scope, tokens, receive)
        except TokenRefusedError as problem:
            warn("service token refused", reason=str(problem), method=scope["method"])
            answer = error_response(401, "the service token was refused: sign a new one")
        except NonceStoreError as problem:
            warn("service token not judged: replay store", reason=str(problem))
            answer = error_response(503, "tokens can't be judged now: try again later")
        else:
            await self._app(scope, _again(body, receive), send)
            return
        await answer(scope, receive, send)

    async def _admit(self, scope: Scope, tokens: list[bytes], receive: Receive) -> bytes:
        if len(tokens) != 1:
            raise TokenRefusedError(f"expected one token, got {len(tokens)}")
        target = Target(
            scope["method"],
            scope["raw_path"].decode("latin-1"),
            scope["query_string"].decode("latin-1"),
        )
        claims = self._verifier.examine(tokens[0].decode("latin-1"), target)
        body, digest = await _read(receive)
        scope[CALLER] = self._verifier.accept(claims, digest)
        return body


async def _read(receive: Receive) -> tuple[bytes, str]:
    """The whole body and its SHA-256.

    Raises:
        HTTPException: 413, it is larger than any operation between services needs.
        TokenRefusedError: the caller went away in the middle of it.
    """
    parts, size_bytes, digest = [], 0, hashlib.sha256()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise TokenRefusedError("body: expected all of it, got a part")
        part = message.get("body", b"")
        size_bytes += len(part)
        if size_bytes > BODY_LIMIT_BYTES:
            raise too_large(BODY_LIMIT_BYTES)
        parts.append(part)
        digest.update(part)
        more = message.get("more_body", False)
    return b"".join(parts), digest.hexdigest()


def _again(body: bytes, receive: Receive) -> Receive:
    """What the app receives: the body that was judged, then whatever comes."""
    rest: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return rest.pop() if rest else await receive()

    return again
