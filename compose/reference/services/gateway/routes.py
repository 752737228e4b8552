"""The gateway's other operations: actions, sessions and signals, passed to their owners."""

from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from services.executor.tools.schemas import ActionAnswer, ActionRequest
from services.gateway.relay import broken, checked
from services.gateway.schemas import SignalStart
from services.kit import signals
from services.kit.access import require_client
from services.kit.client import ServiceClient
from services.kit.errors import ServiceError, errors
from services.kit.settings import SYSTEM_SERVICES, Settings
from services.kit.tracing import current_trace_id
from services.sessions.schemas import Session, SessionId, SessionRequest

# Longer than the slowest tool may take (policies/tools.yaml).
ACTION_TIMEOUT_SECONDS = 15.0

_Answer = TypeVar("_Answer", bound=BaseModel)

router = APIRouter(prefix="/v1", tags=["public"], dependencies=[Depends(require_client)])


async def _settings(request: Request) -> Settings:
    found: Settings = request.app.state.settings
    return found


AppSettings = Annotated[Settings, Depends(_settings)]


@router.post("/action", responses=errors(401, 403, 404, 503))
async def act(action: ActionRequest, settings: AppSettings) -> ActionAnswer:
    """Run a tool; the executor decides whether it may (403 `policy_denied` says why not)."""
    response = await ServiceClient(settings, "executor").request(
        "POST",
        "/internal/actions",
        json=action.model_dump(),
        timeout_seconds=ACTION_TIMEOUT_SECONDS,
    )
    return _answer(ActionAnswer, checked(response, "executor"), "executor")


@router.post("/signal", responses=errors(401, 503))
async def signal(start: SignalStart, settings: AppSettings) -> signals.SignalAnswer:
    """Send a signal through all six services; 503 says how far it came (K2)."""
    route = [name for name in SYSTEM_SERVICES if name != settings.service]
    first = signals.Signal.model_validate({"route": route, "hops": [], "note": start.note})
    answer = await signals.pass_on(settings, first)
    if answer.hops != list(SYSTEM_SERVICES):
        reached = ", ".join(answer.hops)
        raise ServiceError(503, f"the signal came no further than {reached}", "missing_hops")
    if answer.trace_id != current_trace_id():
        raise ServiceError(503, "a hop went on under another trace id", "other_trace")
    return answer


@router.post("/sessions", status_code=201, responses=errors(401, 503))
async def create_session(wanted: SessionRequest, settings: AppSettings) -> Session:
    """Create a session that lives for `ttl_seconds` after its last heartbeat."""
    return await _session(settings, "POST", "/v1/sessions", wanted)


@router.get("/sessions/{session_id}", responses=errors(401, 404, 503))
async def read_session(session_id: SessionId, settings: AppSettings) -> Session:
    """A session as it is now."""
    return await _session(settings, "GET", f"/v1/sessions/{session_id}")


@router.post("/sessions/{session_id}/heartbeat", responses=errors(401, 404, 409, 503))
async def heartbeat_session(session_id: SessionId, settings: AppSettings) -> Session:
    """Let an active session live for its whole time again; 409 where it has ended."""
    return await _session(settings, "POST", f"/v1/sessions/{session_id}/heartbeat")


@router.delete("/sessions/{session_id}", responses=errors(401, 404, 503))
async def destroy_session(session_id: SessionId, settings: AppSettings) -> Session:
    """End a session."""
    return await _session(settings, "DELETE", f"/v1/sessions/{session_id}")


async def _session(
    settings: Settings, method: str, path: str, body: SessionRequest | None = None
) -> Session:
    response = await ServiceClient(settings, "sessions").request(
        method, path, json=body.model_dump() if body else None
    )
    return _answer(Session, checked(response, "sessions"), "sessions")


def _answer(model: type[_Answer], content: bytes, neighbour: str) -> _Answer:
    try:
        return model.model_validate_json(content)
    except ValueError as problem:
        raise broken(neighbour, "its answer is not of the agreed form") from problem
