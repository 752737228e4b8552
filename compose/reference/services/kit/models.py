"""Bounded types for requests: what can't be stored or sent back is refused at the door."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

# SQLite and PostgreSQL hold integers up to 2**63-1; JSON readers agree up to 2**53-1.
LARGEST_INTEGER = 2**53 - 1
_DEEPEST = 16

# No NUL: PostgreSQL refuses it in text. (pydantic itself refuses lone surrogates.)
_NO_NUL = r"^[^\u0000]*$"

Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ShortText = Annotated[str, StringConstraints(max_length=200, pattern=_NO_NUL)]
MediumText = Annotated[str, StringConstraints(max_length=8_000, pattern=_NO_NUL)]
LongText = Annotated[str, StringConstraints(max_length=1_048_576, pattern=_NO_NUL)]
Labels = Annotated[dict[Identifier, ShortText], Field(max_length=32)]
NaturalNumber = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]


def _check_json(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what can't be sent on: NaN, infinities, lone surrogates, endless nesting."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as problem:
        raise ValueError("expected finite numbers and text without lone surrogates") from problem
    level: list[Any] = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return value
    raise ValueError(f"expected at most {_DEEPEST} levels of nesting, got more")


def _inner(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list) else []


# JSON whose meaning is for somebody else to judge.
FreeJson = Annotated[dict[str, Any], Field(max_length=16), AfterValidator(_check_json)]


class RequestModel(BaseModel):
    """Base of request bodies: unknown keys and near-miss types ("5" for 5) are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AnswerModel(BaseModel):
    """Base of answers; a key that the model doesn't name is a bug, not an extra."""

    model_config = ConfigDict(extra="forbid")
