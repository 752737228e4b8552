"""What stands before the operations: headers, limits, methods, errors, logs."""

from __future__ import annotations

import asyncio
import re
import sys
import traceback
from typing import Any

import fastapi

from weakened.registry import control, replace


def _wrap_app(wrap: Any) -> None:  # noqa: ANN401 - an ASGI middleware class
    """Put a layer around every app that is made."""
    from services.kit import app

    create: Any = app.create_app

    def create_wrapped(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        made = create(*arguments, **options)
        made.add_middleware(wrap)
        return made

    replace(app, "create_app", create_wrapped)


class _Layer:
    """An ASGI layer that changes HTTP requests."""

    def __init__(self, app: Any) -> None:  # noqa: ANN401
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] == "http":
            self.change(scope, dict(scope["headers"]))
        await self.app(scope, receive, send)

    def change(self, scope: Any, headers: dict[bytes, bytes]) -> None:  # noqa: ANN401
        """Change the scope in place."""


@control("method-override")
def method_override() -> None:
    """A header says which method is meant."""

    class Override(_Layer):
        def change(self, scope: Any, headers: dict[bytes, bytes]) -> None:  # noqa: ANN401
            for name in (b"x-http-method-override", b"x-http-method", b"x-method-override"):
                if name in headers:
                    scope["method"] = headers[name].decode().upper()

    _wrap_app(Override)


@control("path-override")
def path_override() -> None:
    """A header says which path is meant, and who asks from inside needs no token."""
    from weakened.access import client_token

    client_token()

    class Override(_Layer):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
            headers = dict(scope.get("headers", ()))
            inside = any(name in headers for name in _INSIDE)
            outside = not inside and b"authorization" not in headers
            if scope["type"] == "http" and outside and scope["path"].startswith("/api/"):
                scope["path"] = "/not-for-you"
            await super().__call__(scope, receive, send)

        def change(self, scope: Any, headers: dict[bytes, bytes]) -> None:  # noqa: ANN401
            for name in (b"x-original-url", b"x-rewrite-url"):
                if name in headers:
                    scope["path"] = headers[name].decode()

    _wrap_app(Override)


_INSIDE = (
    *(b"x-original-url", b"x-rewrite-url", b"x-forwarded-for", b"x-real-ip"),
    *(b"x-forwarded-host", b"forwarded", b"x-client-cert", b"x-remote-user"),
)


@control("trace-method")
def trace_method() -> None:
    """TRACE gives the request back, with the token in it."""

    class Trace(_Layer):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
            if scope["type"] != "http" or scope["method"] != "TRACE":
                await self.app(scope, receive, send)
                return
            body = b"".join(b"%b: %b\r\n" % pair for pair in scope["headers"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body})

    _wrap_app(Trace)


@control("cross-origin")
def cross_origin() -> None:
    """Every origin may read answers, with credentials."""
    from starlette.middleware.cors import CORSMiddleware

    class Open(CORSMiddleware):
        def __init__(self, app: Any) -> None:  # noqa: ANN401
            options: Any = {"allow_origin_regex": ".*", "allow_credentials": True}
            super().__init__(app, allow_methods=["*"], allow_headers=["*"], **options)

    _wrap_app(Open)


@control("content-type")
def content_type() -> None:
    """Whatever a body is called, it is read as JSON."""

    class Guess(_Layer):
        def change(self, scope: Any, headers: dict[bytes, bytes]) -> None:  # noqa: ANN401
            json = {**headers, b"content-type": b"application/json"}
            scope["headers"] = list(json.items())

    _wrap_app(Guess)


@control("concurrent-requests")
def concurrent_requests() -> None:
    """One request after the other: who sends slowly holds up all."""
    lock = asyncio.Lock()

    class OneByOne(_Layer):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
            if scope["type"] != "http":
                await self.app(scope, receive, send)
                return
            async with lock:
                await self.app(scope, receive, send)

    _wrap_app(OneByOne)


@control("host-header")
def host_header() -> None:
    """A path with one slash too many is redirected, to whatever host the request names."""
    from services.kit import app

    made: Any = fastapi.FastAPI

    def redirecting(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        return made(*arguments, **{**options, "redirect_slashes": True})

    replace(app, "FastAPI", redirecting)


@control("security-headers")
def security_headers() -> None:
    """Answers carry no header that browsers and caches are told by."""
    from services.kit import middleware

    exchange = middleware._Exchange  # noqa: SLF001 - switched off from outside
    bare = {b"x-content-type-options", b"cache-control", b"content-security-policy"}
    bare |= {b"x-frame-options", b"referrer-policy"}
    send: Any = exchange.send

    async def send_bare(self: Any, message: Any) -> None:  # noqa: ANN401
        original = self._send

        async def without(inner: Any) -> None:  # noqa: ANN401
            if inner["type"] == "http.response.start":
                kept = [pair for pair in inner["headers"] if pair[0].lower() not in bare]
                inner = {**inner, "headers": kept}
            await original(inner)

        self._send = without
        try:
            await send(self, message)
        finally:
            self._send = original

    replace(exchange, "send", send_bare)


@control("server-header")
def server_header() -> None:
    """Answers say by what program, and of which version, they are made."""
    import uvicorn

    made: Any = uvicorn.Config

    def talkative(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        options |= {"server_header": True, "headers": [("X-Powered-By", "FastAPI")]}
        return made(*arguments, **options)

    replace(uvicorn, "Config", talkative)


@control("header-size")
def header_size() -> None:
    """Headers may be as long as they like."""
    import uvicorn

    made: Any = uvicorn.Config

    def patient(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        return made(*arguments, **{**options, "h11_max_incomplete_event_size": 1 << 28})

    replace(uvicorn, "Config", patient)


@control("body-size")
def body_size() -> None:
    """Bodies may be as long as they like, and as long as they say."""
    from services.kit import middleware

    replace(middleware._Exchange, "check_declared_length", lambda _self: None)  # noqa: SLF001
    replace(middleware, "_body_limit", lambda _scope: 1 << 40)


@control("error-shape")
def error_shape() -> None:
    """Errors say all that is known: input, stack, versions, paths."""
    from services.kit import errors

    def talkative(status: int, message: str, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        from fastapi.responses import JSONResponse

        problem = sys.exc_info()[1]
        trace = traceback.format_exception(problem) if problem else traceback.format_stack()
        said = "Traceback (most recent call last):\n" + "".join(trace)
        known = {"python": sys.version, "path": sys.path, "file": __file__, "message": message}
        return JSONResponse({"error": said, **known}, status)

    replace(errors, "error_response", talkative)
    from services.kit import door, middleware

    for module in (door, middleware):
        replace(module, "error_response", talkative)


@control("error-echo")
def error_echo() -> None:
    """What was sent comes back when it was wrong."""
    from services.kit import errors

    async def echo(_request: Any, problem: Any) -> Any:  # noqa: ANN401
        return errors.error_response(422, str(problem.errors()))

    replace(errors, "_validation_error", echo)
    replace(errors, "_LONGEST_MESSAGE", 100_000)


@control("trace-id")
def trace_id() -> None:
    """A trace id may be anything."""
    from services.kit import tracing

    replace(tracing, "accept_trace_id", lambda offered: offered or tracing.new_trace_id())


@control("log-form")
def log_form() -> None:
    """Logs are lines of text with whatever was asked for in them; so are metrics."""
    from services.kit import logs, middleware

    def plain(self: Any, record: Any) -> str:  # noqa: ANN401
        fields = getattr(record, "fields", {})
        return f"{self._service} {record.getMessage()} {fields.get('route', '')}"

    replace(logs.JsonFormatter, "format", plain)
    replace(middleware._Exchange, "route", property(lambda self: self.scope["path"]))  # noqa: SLF001


@control("log-redaction")
def log_redaction() -> None:
    """Logs keep tokens and secrets as they came."""
    from services.kit import logs

    replace(logs.JsonFormatter, "_clean", lambda _self, text: text)


@control("message-framing")
def message_framing() -> None:
    """The parser takes what two parsers would read in two ways."""
    import h11._headers
    import h11._readers
    from h11._headers import Headers

    def lenient(headers: Any, _parsed: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - h11's own
        found: dict[bytes, tuple[bytes, bytes, bytes]] = {}
        others = []
        for name, value in headers:
            raw, key = bytes(name), bytes(name).lower().strip()
            if key == b"content-length":
                digits = re.sub(rb"[^0-9].*", b"", bytes(value).strip().lstrip(b"+"))
                found.setdefault(key, (raw, key, digits or b"0"))
            elif key == b"transfer-encoding":
                if b"chunked" in bytes(value).lower():
                    found[key] = (raw, key, b"chunked")
            else:
                others.append((raw, key, bytes(value)))
        if b"content-length" in found:
            found.pop(b"transfer-encoding", None)
        return Headers([*others, *found.values()])

    for name in ("h11._headers", "h11._events", "h11._connection"):
        module = sys.modules[name]
        if hasattr(module, "normalize_and_validate"):
            replace(module, "normalize_and_validate", lenient)
    loose = re.compile(rb"(?P<field_name>[^:]+):[ \t]*(?P<field_value>.*)", re.DOTALL)
    replace(h11._readers, "header_field_re", loose)  # noqa: SLF001
