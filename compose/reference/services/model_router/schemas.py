"""What the model-router takes and answers."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from services.kit.models import AnswerModel, Identifier, NaturalNumber, RequestModel, Sha256Hex
from services.model_router.model import MAX_TOKENS

DEFAULT_MAX_TOKENS = 64
LARGEST_COST_PER_MONTH = 1_000_000_000.0

Prompt = Annotated[str, StringConstraints(min_length=1, max_length=8_000, pattern=r"^[^\u0000]*$")]


class CompletionRequest(RequestModel):
    """A prompt; the same prompt, seed and limit give the same tokens."""

    prompt: Prompt
    seed: NaturalNumber = 0
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] = DEFAULT_MAX_TOKENS
    workspace: Identifier = "default"
    stream: bool = False


class QuotaState(AnswerModel):
    """Where a workspace stands; costs are estimates in US dollars.

    `alert` is true from 80 % of either cap on (C5).
    """

    tokens_per_day: NaturalNumber
    tokens_used_today: NaturalNumber
    cost_per_month: float
    cost_used_this_month: float
    alert: bool


class RunUsage(AnswerModel):
    """The usage record of one run (C4)."""

    model_id: str
    prompt_sha256: Sha256Hex
    prompt_tokens: NaturalNumber
    completion_tokens: NaturalNumber
    total_tokens: NaturalNumber
    cost_estimate_usd: float
    timestamp: str


class CompletionDone(AnswerModel):
    """The end of an answer; the last line of a stream."""

    type: Literal["done"] = "done"
    provider: str
    fallback_reason: str | None
    finish_reason: Literal["stop", "length"]
    usage: RunUsage
    quota: QuotaState


class TokenLine(AnswerModel):
    """One token of a stream."""

    type: Literal["token"] = "token"
    text: str


class Completion(CompletionDone):
    """A whole answer, where no stream was asked for."""

    text: str


class QuotaRequest(RequestModel):
    """New caps of a workspace; 0 blocks it. The cost is in US dollars per calendar month."""

    tokens_per_day: NaturalNumber
    cost_per_month: Annotated[float, Field(ge=0, le=LARGEST_COST_PER_MONTH, allow_inf_nan=False)]


class QuotaAnswer(AnswerModel):
    """The caps of a workspace."""

    workspace: Identifier
    tokens_per_day: NaturalNumber
    cost_per_month: float


class UsageAnswer(AnswerModel):
    """What a workspace has used, and its most recent runs, newest first."""

    workspace: Identifier
    quota: QuotaState
    runs: list[RunUsage]
