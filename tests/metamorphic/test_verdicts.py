"""Verdicts move one way: worse evidence or a tighter threshold never makes one better."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bundles import criterion
from hypothesis import given
from hypothesis import strategies as st

from evidence.consistency import contradictions
from evidence.criteria import Criterion, judge, load_criteria, verdict_of
from evidence.judging import PASSED

NUMBERS = st.integers(-1000, 1000) | st.floats(-1000, 1000)
AMOUNTS = st.floats(0, 1000)
UPPER, LOWER = st.sampled_from(["at_most", "below"]), st.sampled_from(["at_least", "above"])


def verdict(rule: str, expected: float, observed: float | None) -> str:
    made_up = Criterion("x", "/value", rule, expected, "unit", "why", None)
    return verdict_of(judge([made_up], {"value": observed}))


@given(UPPER, NUMBERS, NUMBERS, AMOUNTS)
def test_a_lower_limit_from_above_never_turns_failed_to_passed(
    rule: str, expected: float, observed: float, less: float
) -> None:
    if verdict(rule, expected, observed) != PASSED:
        assert verdict(rule, expected - less, observed) != PASSED


@given(LOWER, NUMBERS, NUMBERS, AMOUNTS)
def test_a_higher_limit_from_below_never_turns_failed_to_passed(
    rule: str, expected: float, observed: float, more: float
) -> None:
    if verdict(rule, expected, observed) != PASSED:
        assert verdict(rule, expected + more, observed) != PASSED


@given(UPPER, NUMBERS, NUMBERS, AMOUNTS)
def test_more_of_what_is_limited_never_turns_failed_to_passed(
    rule: str, expected: float, observed: float, more: float
) -> None:
    if verdict(rule, expected, observed) != PASSED:
        assert verdict(rule, expected, observed + more) != PASSED


RANK = {"failed": 0, "inconclusive": 1, "passed": 2}
OUTCOMES = st.lists(st.sampled_from(sorted(RANK)), max_size=6)


def rank(outcomes: list[str]) -> int:
    """How good the verdict on these outcomes is."""
    values = {"passed": 1, "failed": 0, "inconclusive": None}
    made_up = Criterion("x", "/value", "equals", 1, "unit", "why", None)
    judgements = [judge([made_up], {"value": values[one]})[0] for one in outcomes]
    return RANK[verdict_of(judgements)]


@given(OUTCOMES.filter(bool), OUTCOMES)
def test_one_more_criterion_never_makes_the_verdict_better(
    outcomes: list[str], more: list[str]
) -> None:
    assert rank(outcomes + more) <= rank(outcomes)


@given(OUTCOMES)
def test_the_order_of_criteria_changes_nothing(outcomes: list[str]) -> None:
    assert rank(outcomes) == rank(outcomes[::-1]) == rank(sorted(outcomes))


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_more_failed_jobs_never_make_the_verdict_better(
    completed: int, failed: int, more: int
) -> None:
    """The criteria of the gate file itself, on every count that says something was lost (P2)."""
    criteria = [one for one in load_criteria("proof_pack") if one.rule in {"at_most", "equals"}]
    bad = [one for one in criteria if one.expected == 0 or one.rule == "at_most"]
    assert bad
    for one in bad:
        before = RANK[verdict_of(judge([one], put(one.metric, failed)))]
        after = RANK[verdict_of(judge([one], put(one.metric, failed + more)))]
        assert after <= before, (one.id, completed)


def put(metric: str, value: object) -> dict[str, Any]:
    """Evidence with one value in it."""
    found: Any = value
    for part in reversed(metric.strip("/").split("/")):
        found = {part: found}
    assert isinstance(found, dict)
    return found


@given(OUTCOMES.filter(bool), st.integers(0, 5), st.sampled_from(sorted(RANK)))
def test_an_outcome_that_was_edited_contradicts_its_own_figures(
    outcomes: list[str], place: int, edited: str
) -> None:
    rows = [criterion(f"c{number}", outcome) for number, outcome in enumerate(outcomes)]
    row = rows[place % len(rows)]
    honest = row["outcome"] == edited
    row["outcome"] = edited
    summary = {
        "verdict": "failed",
        "interrupted": False,
        "exit_code": 1,
        "criteria": rows,
        "eligible": {"value": False},
        "commit": {},
        "key": {},
        "steps": [],
    }
    assert (contradictions(summary) == []) == honest


def test_replacing_a_rule_by_its_opposite_turns_the_verdict() -> None:
    one = Criterion("x", "/value", "at_most", 5, "unit", "why", None)
    for value in (4, 5, 6):
        other = replace(one, rule="above")
        found = {verdict_of(judge([each], {"value": value})) for each in (one, other)}
        assert found == {"passed", "failed"}
