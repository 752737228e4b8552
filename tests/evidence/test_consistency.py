"""evidence.consistency and evidence.judging: one set of rules, the one that judged the run."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evidence.consistency import ClaimError, check_consistent, contradictions
from evidence.criteria import Criterion, judge
from evidence.judging import RULES, finite_number, outcome_of

# By path: `evidence` names the package in scripts/, so this folder can't be imported from.
_samples = runpy.run_path(str(Path(__file__).with_name("test_junit.py")))
sample_criterion = _samples["sample_criterion"]
sample_summary = _samples["sample_summary"]
ELIGIBLE: dict[str, Any] = {
    "eligible": {"value": True, "reasons": []},
    "key": {"kind": "provided"},
    "commit": {"sha": "0f" * 20, "dirty": False},
}
NUMBERS = st.integers(-(10**12), 10**12) | st.floats(allow_nan=True, allow_infinity=True)


@given(
    st.sampled_from(sorted(RULES)),
    st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False),
    NUMBERS | st.none() | st.booleans() | st.text(max_size=3) | st.lists(st.none(), max_size=1),
)
def test_what_judged_a_run_agrees_with_what_verifies_it(
    rule: str, expected: float, observed: Any
) -> None:
    """The judged entry, as it is written, gives the outcome that it states."""
    judged = judge([Criterion("x", "/value", rule, expected, "u", "w", None)], {"value": observed})
    row = judged[0].as_json()
    assert outcome_of(rule, row["observed"], row["expected"]) == row["outcome"]


@pytest.mark.parametrize(
    "value", [True, None, "1", [], float("nan"), float("inf"), -float("inf"), 10**400]
)
def test_what_is_no_finite_number(value: object) -> None:
    assert not finite_number(value)
    assert outcome_of("at_least", value, 0) in {"failed", "inconclusive"}


def test_texts_are_compared_with_texts_only() -> None:
    assert outcome_of("equals", "ok", "ok") == "passed"
    assert outcome_of("equals", "no", "ok") == outcome_of("equals", 0, "ok") == "failed"
    assert outcome_of("equals", "0", 0) == "failed"


def test_an_honest_summary_has_no_contradiction() -> None:
    assert contradictions(sample_summary()) == []
    assert contradictions(sample_summary() | ELIGIBLE) == []


def test_every_contradiction_is_named() -> None:
    summary = sample_summary() | {"exit_code": 1, "interrupted": True, "error": "disk full"}
    summary["criteria"] = [sample_criterion("late", "passed", 0.9)] * 2
    found = contradictions(summary)
    assert len(found) == 6
    assert all("expected " in line and ", got " in line for line in found)


@pytest.mark.parametrize("value", [True, 1, None, "true"])
def test_only_a_plain_no_needs_no_proof_of_eligibility(value: object) -> None:
    change = {"eligible": {"value": value, "reasons": ["self-signed"]}}
    with pytest.raises(ClaimError, match="eligible: expected"):
        check_consistent(sample_summary() | change)


@pytest.mark.parametrize("name", ["verdict", "exit_code", "interrupted", "eligible", "criteria"])
@pytest.mark.parametrize("value", [None, [], {}, 1.5])
def test_a_part_of_another_type_is_one_clear_line(name: str, value: object) -> None:
    with pytest.raises(ClaimError):
        check_consistent(sample_summary() | {name: value})
