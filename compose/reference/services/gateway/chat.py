"""`POST /v1/chat`: the model-router's stream as server-sent events."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import httpx
from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from pydantic import Field, TypeAdapter
from starlette.types import Receive, Scope, Send

from services.gateway.relay import broken, checked
from services.gateway.schemas import ChatRequest, DoneEvent, TokenEvent
from services.kit.access import require_client
from services.kit.client import ServiceClient
from services.kit.errors import ErrorAnswer, ErrorDetail, ServiceError, errors
from services.kit.logs import warn
from services.kit.models import AnswerModel
from services.kit.tracing import current_trace_id
from services.model_router.schemas import CompletionDone, TokenLine

if TYPE_CHECKING:
    from services.kit.settings import Settings

NEIGHBOUR = "model-router"
EVENT_STREAM = "text/event-stream"
READ_TIMEOUT_SECONDS = 10.0

router = APIRouter()
_LINE: TypeAdapter[TokenLine | CompletionDone] = TypeAdapter(
    Annotated[TokenLine | CompletionDone, Field(discriminator="type")]
)


# One event as its reader sees it; the data is JSON: TokenEvent, DoneEvent or ErrorAnswer.
_EVENT_SCHEMA = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["token", "done", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}


class _Relay(StreamingResponse):
    """A streamed answer that lets go of its source even where it never got to start."""

    def __init__(self, lines: AsyncIterator[str], source: AsyncExitStack) -> None:
        super().__init__(lines, media_type=EVENT_STREAM, headers={"Cache-Control": "no-store"})
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._source:
            await super().__call__(scope, receive, send)


@router.post(
    "/v1/chat",
    tags=["public"],
    # Its media type is None, so that errors stay described as JSON.
    response_class=StreamingResponse,
    responses={
        200: {"content": {EVENT_STREAM: {"schema": _EVENT_SCHEMA}}},
        **errors(401, 429, 503),
    },
)
async def chat(
    wanted: ChatRequest, request: Request, _caller: Annotated[str, Depends(require_client)]
) -> StreamingResponse:
    """Stream an answer: `event: token` for each token, then `event: done`.

    What fails before the first token is a plain status code; what fails later ends the
    stream with `event: error`, so a stream without `done` is not a whole answer.
    """
    settings: Settings = request.app.state.settings
    body = {
        "prompt": wanted.message,
        "seed": wanted.seed,
        "workspace": wanted.workspace,
        "stream": True,
    }
    async with AsyncExitStack() as opening:
        response = await opening.enter_async_context(
            ServiceClient(settings, NEIGHBOUR).stream(
                "POST", "/v1/completions", json=body, timeout_seconds=READ_TIMEOUT_SECONDS
            )
        )
        if not response.is_success:
            await response.aread()
            checked(response, NEIGHBOUR)
        return _Relay(_events(response), opening.pop_all())


async def _events(response: httpx.Response) -> AsyncIterator[str]:
    try:
        async for line in response.aiter_lines():
            item = _LINE.validate_json(line)
            if isinstance(item, CompletionDone):
                yield _event("done", _done(item))
                return
            yield _event("token", TokenEvent(text=item.text))
        raise broken(NEIGHBOUR, "the stream ended without its last line")
    except (httpx.HTTPError, ValueError) as problem:
        warn("stream broke off", neighbour=NEIGHBOUR, reason=type(problem).__name__)
        yield _event("error", _error(503, f"{NEIGHBOUR} went away: ask again"))
    except ServiceError as problem:
        yield _event("error", _error(problem.status, problem.message))


def _done(item: CompletionDone) -> DoneEvent:
    return DoneEvent(
        provider=item.provider,
        fallback_reason=item.fallback_reason,
        finish_reason=item.finish_reason,
        usage=item.usage,
        quota=item.quota,
        trace_id=current_trace_id(),
    )


def _error(status: int, message: str) -> ErrorAnswer:
    problem = ServiceError(status, message)
    detail = ErrorDetail(code=problem.code, message=message, trace_id=current_trace_id())
    return ErrorAnswer(error=detail)


def _event(name: str, data: AnswerModel | ErrorAnswer) -> str:
    # JSON holds no line break, so one data line is always enough.
    return f"event: {name}\ndata: {data.model_dump_json()}\n\n"
