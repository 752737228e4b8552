"""One shape for every error: {"error": {"code", "message", "trace_id"}}; no internals in it."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from services.kit.tracing import current_trace_id

_CODES: Mapping[int, str] = {
    401: "unauthorised",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    422: "invalid_request",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}
_LONGEST_MESSAGE = 500


class ServiceError(Exception):
    """An answer other than success: raised anywhere below a request."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        """Say what the caller is told.

        Args:
            status: the HTTP status.
            message: "what is wrong: what to do"; never an internal detail.
            code: a word for programs; by default the one of the status.
        """
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or _CODES.get(status, "error")


class ErrorDetail(BaseModel):
    """What went wrong: `code` for programs, `message` for people."""

    code: str
    message: str
    trace_id: str


class ErrorAnswer(BaseModel):
    """The body of every answer of 400 and above."""

    error: ErrorDetail


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of an operation: which errors it may answer, for OpenAPI."""
    return {
        status: {"model": ErrorAnswer, "description": _CODES[status].replace("_", " ")}
        for status in sorted({*statuses, 413, 422})
    }


def error_response(
    status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """An error answer in the one shape."""
    body = {
        "error": {
            "code": code or _CODES.get(status, "error"),
            "message": message[:_LONGEST_MESSAGE],
            "trace_id": current_trace_id(),
        }
    }
    # ASCII escapes: a message may quote a lone surrogate, which UTF-8 can't carry.
    content = json.dumps(body).encode("ascii")
    extra = {"Cache-Control": "no-store", **(headers or {})}
    return Response(content, status, headers=extra, media_type="application/json")


def install(app: FastAPI) -> None:
    """Give all errors of `app` the one shape; 500 is made by the outermost middleware."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)


async def _service_error(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, ServiceError)  # noqa: S101 - narrows what Starlette promises
    return error_response(problem.status, problem.message, problem.code)


async def _http_error(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)  # noqa: S101 - narrows what Starlette promises
    # FastAPI says 400 for a body that its JSON parser gives up on: invalid like any other.
    status = 422 if problem.status_code == 400 else problem.status_code  # noqa: PLR2004 - HTTP
    return error_response(status, str(problem.detail), headers=problem.headers)


async def _validation_error(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, RequestValidationError)  # noqa: S101 - narrows what Starlette promises
    found = problem.errors()
    first = found[0] if found else {"loc": (), "msg": "not valid"}
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return error_response(422, f"{where[:200]}: {first['msg'][:200]}{more}")
