"""`GET /v1/policy` and `GET /v1/sandbox`: what holds now, for whoever has to prove it."""

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool

from services.executor.tools import selfcheck
from services.executor.tools.decisions import Decisions
from services.executor.tools.routes import tool_decisions
from services.kit.access import require_caller
from services.kit.errors import errors
from services.kit.models import AnswerModel

router = APIRouter(prefix="/v1", tags=["tools"], dependencies=[Depends(require_caller)])


class PolicyAnswer(AnswerModel):
    """How the tool policy stands: `drift` where the files are not the approved ones."""

    state: Literal["in force", "missing", "drift", "invalid"]
    drift: bool
    approved_sha256: str
    found_sha256: str
    problem: str
    changes: int


class LayerAnswer(AnswerModel):
    """One layer: whether it holds, whether programs get it, which attacks it alone stopped."""

    name: str
    active: bool
    used: bool
    stops: list[str]
    detail: str


class SandboxAnswer(AnswerModel):
    """What the self-check found when the executor started.

    `holds`: attacks were tried, and none got through all layers together.

    `without` and `together`: each attack without any layer, and with all that are active;
    empty where this system has none. `process`: what surrounds the executor itself.
    """

    holds: bool
    layers: list[LayerAnswer]
    without: dict[str, Literal["stopped", "got through"]]
    together: dict[str, Literal["stopped", "got through"]]
    process: dict[str, str]


@router.get("/policy", responses=errors(401))
async def policy(decisions: Annotated[Decisions, Depends(tool_decisions)]) -> PolicyAnswer:
    """The tool policy, looked at anew (G3b, K10)."""
    status = await run_in_threadpool(decisions.store.status)
    return PolicyAnswer(
        state=status.state,
        drift=status.drift,
        approved_sha256=status.approved_sha256,
        found_sha256=status.found_sha256,
        problem=status.problem,
        changes=decisions.store.changes,
    )


@router.get("/sandbox", responses=errors(401))
async def sandbox() -> SandboxAnswer:
    """The sandbox's layers, as they were tried at start; tried anew where not all held (G3c)."""
    report = await run_in_threadpool(selfcheck.try_layers)
    if not report.holds:  # a machine that was too busy to answer then may do so now
        report = await run_in_threadpool(selfcheck.try_anew)
    return SandboxAnswer.model_validate(
        {
            "holds": report.holds,
            "layers": [{**asdict(layer), "stops": list(layer.stops)} for layer in report.layers],
            "without": dict(report.without),
            "together": dict(report.together),
            "process": selfcheck.process_facts(),
        }
    )
