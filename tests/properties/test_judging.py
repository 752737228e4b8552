"""Criteria: a verdict is passed only for a reason."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evidence.criteria import Criterion, judge, verdict_of
from evidence.judging import FAILED, INCONCLUSIVE, PASSED, RULES, outcome_of

NUMBERS = st.integers() | st.floats()
ANYTHING = st.none() | st.booleans() | NUMBERS | st.text(max_size=5) | st.lists(st.integers())
NAMES = st.sampled_from(sorted(RULES))


@given(NAMES, ANYTHING, ANYTHING)
def test_every_outcome_is_one_of_three_words(name: str, observed: Any, expected: Any) -> None:
    assert outcome_of(name, observed, expected) in {PASSED, FAILED, INCONCLUSIVE}


@given(NAMES, ANYTHING, ANYTHING)
def test_only_two_finite_numbers_or_two_texts_can_pass(
    name: str, observed: Any, expected: Any
) -> None:
    if outcome_of(name, observed, expected) != PASSED:
        return
    if isinstance(expected, str):
        assert isinstance(observed, str)
    else:
        numbers = (observed, expected)
        assert all(type(one) in {int, float} and math.isfinite(one) for one in numbers)


@given(NUMBERS, NUMBERS)
def test_opposite_rules_never_agree(observed: float, expected: float) -> None:
    for one, other in (("at_most", "above"), ("at_least", "below")):
        outcomes = {outcome_of(one, observed, expected), outcome_of(other, observed, expected)}
        finite = math.isfinite(observed) and math.isfinite(expected)
        assert outcomes == ({PASSED, FAILED} if finite else {FAILED})


@given(NAMES, ANYTHING, st.text(min_size=1, max_size=6))
def test_what_is_nowhere_in_the_evidence_is_inconclusive(
    name: str, value: object, key: str
) -> None:
    criterion = Criterion("x", "/there/is/none", name, 0, "unit", "why", None)
    evidence = {key: value}
    assert judge([criterion], evidence)[0].outcome == INCONCLUSIVE
    assert verdict_of(judge([criterion], evidence)) == INCONCLUSIVE
    assert verdict_of(()) == INCONCLUSIVE
