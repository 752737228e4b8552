"""What the gateway itself takes and answers; sessions keep the models of their owner."""

from typing import Literal

from services.kit.models import AnswerModel, Identifier, NaturalNumber, RequestModel, ShortText
from services.model_router.schemas import Prompt, QuotaState, RunUsage


class ChatRequest(RequestModel):
    """A message to the model; the same message and seed give the same answer."""

    message: Prompt
    seed: NaturalNumber = 0
    workspace: Identifier = "default"


class TokenEvent(AnswerModel):
    """The data of `event: token`."""

    text: str


class DoneEvent(AnswerModel):
    """The data of `event: done`, the last one of an answer that is whole."""

    provider: str
    fallback_reason: str | None
    finish_reason: Literal["stop", "length"]
    usage: RunUsage
    quota: QuotaState
    trace_id: str


class SignalStart(RequestModel):
    """A signal that passes all six services under one trace id (K2)."""

    note: ShortText = ""
