"""evidence.consistency, where mutants lived: each contradiction, in its exact words (H8)."""

from __future__ import annotations

from typing import Any

import pytest

from evidence.consistency import ClaimError, contradictions, records

KEY = "sha256:" + "a" * 64


def row(name: str = "done", outcome: object = "passed", **changes: object) -> dict[str, Any]:
    figures = {"rule": "at_least", "expected": 1, "observed": 1}
    return {"id": name, "outcome": outcome, **figures, **changes}


def box(**changes: object) -> dict[str, Any]:
    fine = {"service": "db", "image_id": KEY, "state": "running", "restarts": 0}
    return {**fine, "oom_killed": False, **changes}


GOOD: dict[str, Any] = {
    "verdict": "passed",
    "exit_code": 0,
    "interrupted": False,
    "error": None,
    "criteria": [row()],
    "steps": [{"name": "one", "outcome": "passed"}, {"name": "two", "outcome": "skipped"}],
    "golden": [{"name": "hello", "outcome": "passed"}],
    "images": [{"id": KEY}],
    "containers": [box()],
    "counts": {"containers": 1, "containers_down": 0, "container_restarts": 0, "oom_kills": 0},
    "eligible": {"value": True, "reasons": []},
    "commit": {"sha": "f" * 40, "dirty": False},
    "key": {"kind": "provided"},
}
RULES = "equals, at_most, at_least, below, above"
PASSED = "verdict 'passed': "
ELIGIBLE = "eligible: expected "


def test_a_summary_without_a_contradiction_has_none() -> None:
    assert contradictions(GOOD) == []
    optional = ("golden", "images", "containers")
    assert contradictions({key: value for key, value in GOOD.items() if key not in optional}) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"interrupted": True}, [f"{PASSED}expected a complete run, got one that was interrupted"]),
        ({"exit_code": 3}, ["verdict 'passed': expected exit code 0, got 3"]),
        ({"error": "x"}, [f"{PASSED}expected no error, got one"]),
        ({"criteria": []}, [f"{PASSED}expected criteria, got none"]),
        (
            {"criteria": [row(), row()]},
            ["criteria: expected each id once, got 'done' twice"],
        ),
        (
            {"criteria": [row("odd", rule="about"), row("done", observed=0)]},
            [
                f"'odd': expected a rule of {RULES}, got 'about'",
                "'done' (at_least 1, observed 0): expected the outcome 'failed', got 'passed'",
            ],
        ),
        (
            {"criteria": [row("odd", rule=["equals"])]},
            [f"'odd': expected a rule of {RULES}, got ['equals']"],
        ),
        (
            {"criteria": [row(outcome="failed", observed=0)]},
            [f"{PASSED}expected criteria that passed, got 'done' 'failed'"],
        ),
        (
            {"steps": [{"name": "one", "outcome": "failed"}]},
            [f"{PASSED}expected steps that passed, got 'one' 'failed'"],
        ),
        (
            {"golden": [{"name": "hello", "outcome": "skipped"}]},
            [f"{PASSED}expected golden that passed, got 'hello' 'skipped'"],
        ),
        (
            {"containers": [box(image_id="other")]},
            ["containers: expected 'db' to run an image of `images`, got 'other'"],
        ),
        (
            {"containers": [box(restarts="often")]},
            ["counts.container_restarts: expected 1, got 0"],
        ),
        ({"containers": [box(restarts=2)]}, ["counts.container_restarts: expected 2, got 0"]),
        ({"eligible": {"value": True, "reasons": ["x"]}}, ["no reason against it"]),
        ({"key": {"kind": "self-signed"}}, ["a key that was provided"]),
        ({"commit": {"sha": None, "dirty": False}}, ["a commit"]),
        ({"commit": {"sha": "f" * 40, "dirty": None}}, ["a tree without changes"]),
    ],
)
def test_each_contradiction_is_named(changes: dict[str, Any], says: list[str]) -> None:
    found = contradictions(GOOD | changes)
    wanted = [line if ":" in line else f"{ELIGIBLE}{line}, got none" for line in says]
    assert [line for line in found if line in wanted] == wanted
    assert len(found) >= len(wanted)


def test_a_failed_run_may_be_neither_eligible_nor_end_with_0() -> None:
    found = contradictions(GOOD | {"verdict": "failed"})
    assert found == [
        "verdict 'failed': expected exit code another one than 0, got 0",
        "eligible: expected the verdict 'passed', got none",
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"verdict": "good"},
            "verdict: expected one of passed, failed, inconclusive, got 'good'",
        ),
        ({"verdict": None}, "summary: expected 'verdict' to be a str, got none"),
        ({"exit_code": True}, "summary: expected 'exit_code' to be a int, got bool"),
        ({"criteria": None}, "summary: expected 'criteria' to be a Sequence, got none"),
        ({"criteria": 1}, "summary: expected 'criteria' to be a Sequence, got int"),
        ({"criteria": "x"}, "criteria: expected a list, got str"),
        ({"golden": {"a": 1}}, "golden: expected a list, got dict"),
        ({"steps": [1]}, "steps: expected a list of objects, got other values in it"),
    ],
)
def test_a_part_that_cannot_be_read_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ClaimError) as caught:
        contradictions(GOOD | changes)
    assert str(caught.value) == says


def test_an_optional_part_may_be_absent_and_a_required_one_may_not() -> None:
    assert records({}, "golden") == []
    with pytest.raises(ClaimError, match="expected 'steps' to be a Sequence, got none"):
        records({}, "steps")
