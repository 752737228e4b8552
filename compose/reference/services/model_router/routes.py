"""The model-router's operations: completions, usage, quotas."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import StreamingResponse
from prometheus_client import Counter
from starlette.responses import Response

from services.kit.access import require_caller, require_only, require_service
from services.kit.errors import ServiceError, errors
from services.kit.logs import log, warn
from services.kit.models import Identifier
from services.kit.stores import AppDatabase
from services.model_router import providers, quotas, store
from services.model_router.model import MODEL_ID, Answer, count_prompt_tokens, prompt_sha256
from services.model_router.schemas import (
    Completion,
    CompletionDone,
    CompletionRequest,
    QuotaAnswer,
    QuotaRequest,
    QuotaState,
    RunUsage,
    TokenLine,
    UsageAnswer,
)

NDJSON = "application/x-ndjson"
router = APIRouter(prefix="/v1")
# Not the client: whoever is held by a quota must not be the one who sets it.
_only_control_plane = require_only("control-plane")


class Runtime:
    """What the operations need besides the database."""

    def __init__(
        self,
        chain: tuple[providers.Provider, ...],
        clock: Callable[[], str],
        runs: Counter,
    ) -> None:
        """Take the providers in order, the clock (RFC 3339, UTC) and the run counter."""
        self.chain = chain
        self.clock = clock
        self.runs = runs


async def _runtime(request: Request) -> Runtime:
    found: Runtime = request.app.state.runtime
    return found


AppRuntime = Annotated[Runtime, Depends(_runtime)]
_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {NDJSON: {"schema": {"type": "string"}}}}
}


@router.post(
    "/completions", responses={**_STREAM, **errors(401, 429, 503)}, response_model=Completion
)
def complete(
    wanted: CompletionRequest,
    database: AppDatabase,
    runtime: AppRuntime,
    _caller: Annotated[str, Depends(require_service)],
) -> Completion | Response:
    """Answer a prompt, whole or as a stream of NDJSON lines.

    The run is charged before its first token goes out: an answer that nobody waits
    for has been made all the same.
    """
    decision = _decide(runtime, wanted)
    run = _record_of(wanted, decision, runtime.clock())
    standing = _charge(database, runtime, run)
    done = CompletionDone(
        provider=run.provider,
        fallback_reason=run.fallback_reason,
        finish_reason=decision.answer.finish_reason,
        usage=_usage(run),
        quota=_state(standing),
    )
    if wanted.stream:
        return StreamingResponse(_lines(decision.answer, done), media_type=NDJSON)
    return Completion(**done.model_dump(), text=decision.answer.text)


@router.get("/usage/{workspace}", responses=errors(401, 503))
def read_usage(
    workspace: Identifier,
    database: AppDatabase,
    runtime: AppRuntime,
    _caller: Annotated[str, Depends(require_caller)],
) -> UsageAnswer:
    """Where a workspace stands, and its most recent runs."""
    standing, runs = store.usage(database, workspace, runtime.clock())
    return UsageAnswer(
        workspace=workspace, quota=_state(standing), runs=[_usage(run) for run in runs]
    )


@router.put("/quotas/{workspace}", responses=errors(401, 403, 503))
def set_quota(
    workspace: Identifier,
    wanted: QuotaRequest,
    database: AppDatabase,
    runtime: AppRuntime,
    caller: Annotated[str, Depends(_only_control_plane)],
) -> QuotaAnswer:
    """Give a workspace new caps, from the next run on; the change is logged."""
    quota = quotas.Quota(wanted.tokens_per_day, quotas.to_micro_usd(wanted.cost_per_month))
    store.set_quota(database, workspace, quota, runtime.clock())
    log("quota changed", workspace=workspace, caller=caller, **vars(quota))
    return QuotaAnswer(
        workspace=workspace,
        tokens_per_day=quota.tokens_per_day,
        cost_per_month=quotas.to_usd(quota.cost_per_month_micro_usd),
    )


def _decide(runtime: Runtime, wanted: CompletionRequest) -> providers.Decision:
    try:
        decision = providers.complete(runtime.chain, wanted.prompt, wanted.seed, wanted.max_tokens)
    except providers.NoProviderError as problem:
        runtime.runs.labels("none", "failed").inc()
        warn("no provider answered", reason=str(problem))
        raise ServiceError(503, "no model provider answers: try again later") from problem
    if decision.fallback_reason:
        warn("fell back", provider=decision.provider.name, reason=decision.fallback_reason)
    return decision


def _record_of(wanted: CompletionRequest, decision: providers.Decision, now: str) -> store.Run:
    prompt_tokens = count_prompt_tokens(wanted.prompt)
    completion_tokens = len(decision.answer.tokens)
    price = decision.provider.price_micro_usd_per_thousand
    return store.Run(
        workspace=wanted.workspace,
        provider=decision.provider.name,
        fallback_reason=decision.fallback_reason,
        prompt_sha256=prompt_sha256(wanted.prompt),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost_micro_usd=quotas.cost_micro_usd(prompt_tokens + completion_tokens, price),
        created_at=now,
    )


def _charge(database: AppDatabase, runtime: Runtime, run: store.Run) -> store.Standing:
    try:
        standing = store.charge(database, run)
    except store.QuotaExceededError as problem:
        runtime.runs.labels(run.provider, "blocked").inc()
        warn("quota blocked a run", workspace=run.workspace, quota=problem.name)
        raise ServiceError(
            429, f"the workspace's {problem.name} is used up: raise it or wait", "quota_exceeded"
        ) from problem
    runtime.runs.labels(run.provider, "completed").inc()
    if quotas.alert(standing.quota, standing.used):
        warn("quota alert", workspace=run.workspace, **vars(standing.used))
    return standing


def _usage(run: store.Run) -> RunUsage:
    return RunUsage(
        model_id=MODEL_ID,
        prompt_sha256=run.prompt_sha256,
        prompt_tokens=run.prompt_tokens,
        completion_tokens=run.completion_tokens,
        total_tokens=run.total_tokens,
        cost_estimate_usd=quotas.to_usd(run.cost_micro_usd),
        timestamp=run.created_at,
    )


def _state(standing: store.Standing) -> QuotaState:
    quota, used = standing.quota, standing.used
    return QuotaState(
        tokens_per_day=quota.tokens_per_day,
        tokens_used_today=used.tokens_today,
        cost_per_month=quotas.to_usd(quota.cost_per_month_micro_usd),
        cost_used_this_month=quotas.to_usd(used.cost_this_month_micro_usd),
        alert=quotas.alert(quota, used),
    )


async def _lines(answer: Answer, done: CompletionDone) -> AsyncIterator[str]:
    for token in answer.tokens:
        yield TokenLine(text=token).model_dump_json() + "\n"
    yield done.model_dump_json() + "\n"
