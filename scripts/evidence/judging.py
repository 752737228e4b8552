"""The rules of criteria, without any import that costs: for whoever judges, seals or verifies."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PASSED, FAILED, INCONCLUSIVE = "passed", "failed", "inconclusive"
VERDICTS = (PASSED, FAILED, INCONCLUSIVE)
RULES: dict[str, Callable[[Any, Any], bool]] = {
    "equals": operator.eq,
    "at_most": operator.le,
    "at_least": operator.ge,
    "below": operator.lt,
    "above": operator.gt,
}


WORDS = {"equals": "exactly", "at_most": "at most", "at_least": "at least"}


def wanted(rule: str, expected: object, unit: str) -> str:
    """What a criterion expects, for people: "at least 10 cycles"."""
    return f"{WORDS.get(rule, rule)} {expected} {unit}"


def finite_number(value: object) -> bool:
    """Whether a value is a number that can be compared; a boolean, NaN or infinity is none."""
    if type(value) not in {int, float}:
        return False
    try:
        return math.isfinite(value)  # type: ignore[arg-type]  # a number, by the line above
    except OverflowError:  # an integer beyond every float
        return False


def comparable(observed: object, expected: object) -> bool:
    """Whether both are finite numbers, or both are texts."""
    if type(expected) is str:
        return type(observed) is str
    return finite_number(observed) and finite_number(expected)


def outcome_of(rule: str, observed: Any, expected: Any) -> str:  # noqa: ANN401 - the JSON edge
    """What a criterion comes to; nothing observed is inconclusive, never passed.

    Raises:
        KeyError: an unknown rule.
    """
    compare = RULES[rule]
    if observed is None:
        return INCONCLUSIVE
    return PASSED if comparable(observed, expected) and compare(observed, expected) else FAILED
