"""Hold an answer against what a profile expects, and take from it what later steps need."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stack.placeholders import fill_value
from stack.workload import pointer
from traffic.model import CAPTURE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from traffic.model import Step

SHOWN_CHARACTERS = 100
_CLEANED_BYTES = 1 << 16


def problem_of(
    step: Step,
    status: int,
    body: bytes,
    values: Mapping[str, object],
    clean: Callable[[str], str] = str,
) -> str | None:
    """None for a good answer; else what was expected and what came.

    Args:
        step: what was asked.
        status: HTTP status.
        body: the whole answer.
        values: placeholders of this start: `sequence` and the captures so far.
        clean: takes secrets out of a text; called before anything is cut.
    """
    expect = step.expect
    if status != expect.status:
        return f"expected status {expect.status}, got {status}: {_shown(body, clean)}"
    value = _json(body) if expect.json else None
    for where, wanted in fill_value(dict(expect.json), values).items():
        if (got := pointer(value, where)) != wanted:
            return f"{where}: expected {wanted!r}, got {got!r}"
    for wanted in expect.contains:
        if wanted.encode() not in body:
            return f"expected {wanted!r} in the answer, got {_shown(body, clean)!r}"
    return None


def captures(step: Step, body: bytes) -> dict[str, object]:
    """The placeholders that an answer gives to the steps after it; what it lacks is not there."""
    if not step.capture:
        return {}
    value = _json(body)
    found = {CAPTURE + name: pointer(value, where) for name, where in step.capture.items()}
    return {name: item for name, item in found.items() if isinstance(item, (str, int))}


def _json(body: bytes) -> Any:  # noqa: ANN401 - the JSON edge
    try:
        return json.loads(body)
    except ValueError:
        return None


def _shown(body: bytes, clean: Callable[[str], str]) -> str:
    text = clean(body[:_CLEANED_BYTES].decode("utf-8", "replace"))
    return " ".join(text[:SHOWN_CHARACTERS].split())
