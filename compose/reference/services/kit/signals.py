"""A signal passes from service to service under one trace id, so that missing hops show (K2)."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from services.kit.access import require_service
from services.kit.client import ServiceClient
from services.kit.errors import ServiceError, errors
from services.kit.logs import warn
from services.kit.models import AnswerModel, RequestModel, ShortText
from services.kit.settings import Settings
from services.kit.tracing import current_trace_id

PATH = "/internal/signal"

Hop = Literal["gateway", "model-router", "memory-engine", "sessions", "executor", "control-plane"]
Hops = Annotated[list[Hop], Field(max_length=5)]
# A call waits a second for each hop ahead: the nearest to a hang gives up first.
HOP_SECONDS = 1.0

router = APIRouter()


class Signal(RequestModel):
    """`route` is what still lies ahead, `hops` what lies behind."""

    route: Hops
    hops: Hops
    note: ShortText = ""


class SignalAnswer(AnswerModel):
    """How far the signal came, under which trace id."""

    trace_id: str
    hops: list[Hop]


@router.post(PATH, tags=["internal"], responses=errors(401))
async def receive_signal(
    signal: Signal, request: Request, _caller: Annotated[str, Depends(require_service)]
) -> SignalAnswer:
    """Add this service's name and pass the signal on."""
    return await pass_on(request.app.state.settings, signal)


async def pass_on(settings: Settings, signal: Signal) -> SignalAnswer:
    """Add this service's name to the hops and hand the signal to the next of its route.

    A neighbour that doesn't answer ends the journey: the hops so far come back, and
    whoever started the signal sees which are missing.
    """
    here: Hop = settings.service  # type: ignore[assignment]  # only the six include this router
    hops = [*signal.hops, here]
    trace_id = current_trace_id()
    if not signal.route:
        return SignalAnswer(trace_id=trace_id, hops=hops)
    following, *rest = signal.route
    try:
        response = await ServiceClient(settings, following).request(
            "POST",
            PATH,
            json={"route": rest, "hops": hops, "note": signal.note},
            timeout_seconds=HOP_SECONDS * len(signal.route),
        )
        return SignalAnswer.model_validate_json(response.content)
    except (ServiceError, ValueError) as problem:
        warn("signal stopped", at=following, reason=str(problem))
        return SignalAnswer(trace_id=trace_id, hops=hops)
