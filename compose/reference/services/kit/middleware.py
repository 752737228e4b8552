"""The outermost layer of every app: trace id, size limit, metrics, request log, last resort."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders

from services.kit import tracing
from services.kit.errors import error_response
from services.kit.logs import log, log_bug

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from services.kit.metrics import Metrics

# A result of 1 MiB whose every character needs a six-byte JSON escape still fits.
BODY_LIMIT_BYTES = 8 * 1024 * 1024
_QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics"})


class RequestMiddleware:
    """Pure ASGI, so that streamed answers pass through unbuffered."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wrap `app`; count into `metrics`."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        try:
            await self._run(exchange)
        finally:
            self._record(exchange)

    async def _run(self, exchange: _Exchange) -> None:
        try:
            exchange.check_framing()
            exchange.check_declared_length()
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except HTTPException as problem:
            await exchange.answer(problem.status_code, problem.detail, problem.headers)
        except Exception as problem:
            log_bug("request failed", problem, route=exchange.route)
            if exchange.status:
                raise  # half an answer is out: the server has to cut the connection
            await exchange.answer(500, "the service failed: look in its log for the trace id")

    def _record(self, exchange: _Exchange) -> None:
        seconds = time.perf_counter() - exchange.started
        method = exchange.scope["method"]
        self._metrics.observe(method, exchange.route, exchange.status, seconds)
        if exchange.route not in _QUIET_ROUTES:
            log(
                "request",
                method=method,
                route=exchange.route,
                status=exchange.status,
                milliseconds=round(seconds * 1000, 3),
            )


class _Exchange:
    """One request and its answer, watched on the way through."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.started = time.perf_counter()
        self.status = 0
        self._receive = receive
        self._send = send
        self._received_bytes = 0
        self._headers = Headers(scope=scope)
        self._limit_bytes = _body_limit(scope)
        self._trace_id = tracing.accept_trace_id(self._headers.get(tracing.HEADER))
        tracing.set_trace_id(self._trace_id)

    @property
    def route(self) -> str:
        """The route's template: a real path may hold an id, or a secret."""
        return getattr(self.scope.get("route"), "path", "unmatched")

    def check_framing(self) -> None:
        """A length and chunks at once are two messages to two parsers (RFC 9112, 6.3)."""
        if "transfer-encoding" in self._headers and "content-length" in self._headers:
            message = "expected a length or chunks, got both: send one of them"
            raise HTTPException(400, message, {"Connection": "close"})

    def check_declared_length(self) -> None:
        declared = self._headers.get("content-length", "0")
        # Compared by length first: int() of ten thousand digits is an attack of its own.
        if not declared.isdecimal() or len(declared) > 12 or int(declared) > self._limit_bytes:  # noqa: PLR2004 - a terabyte
            raise too_large(self._limit_bytes)

    async def receive(self) -> Message:
        message = await self._receive()
        self._received_bytes += len(message.get("body", b""))
        if self._received_bytes > self._limit_bytes:
            raise too_large(self._limit_bytes)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[tracing.HEADER] = self._trace_id
            headers["X-Content-Type-Options"] = "nosniff"
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)

    async def answer(
        self, status: int, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        response = error_response(status, message, headers=headers)
        await response(self.scope, self.receive, self.send)


def _body_limit(scope: Scope) -> int:
    """The limit of this path: an app's `state.body_limits` names those with one of their own."""
    limits: dict[str, int] = getattr(scope["app"].state, "body_limits", {})
    return limits.get(scope["path"], BODY_LIMIT_BYTES)


# FastAPI turns whatever else interrupts the reading of a body into 400.
def too_large(limit_bytes: int) -> HTTPException:
    """What to raise while a body is read that is larger than it may be."""
    return HTTPException(413, f"expected a body of at most {limit_bytes} bytes, got more")
