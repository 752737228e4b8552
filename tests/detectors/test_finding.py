"""detectors.finding: the worst outcome counts, and nothing is never a pass."""

from __future__ import annotations

import json
import math

import pytest

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding, outcome_of


def found(outcome: str) -> Finding:
    return Finding("leak", "a", outcome, "expected 1, got 2", 3.0, {"ratio": 0.5, "none": None})


@pytest.mark.parametrize(
    ("outcomes", "worst"),
    [
        ((), NOT_JUDGED),
        ((PASSED, PASSED), PASSED),
        ((PASSED, NOT_JUDGED), NOT_JUDGED),
        ((NOT_JUDGED, FAILED, PASSED), FAILED),
    ],
)
def test_the_worst_outcome_counts(outcomes: tuple[str, ...], worst: str) -> None:
    assert outcome_of(map(found, outcomes)) == worst


def test_a_misspelt_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        found("pass")


def test_json_has_every_field() -> None:
    assert found(FAILED).as_json() == {
        "detector": "leak",
        "subject": "a",
        "outcome": "failed",
        "detail": "expected 1, got 2",
        "at_seconds": 3.0,
        "figures": {"ratio": 0.5, "none": None},
    }


def test_nan_and_infinity_are_null_in_json() -> None:
    finding = Finding("x", "y", FAILED, "z", math.nan, {"a": math.inf, "b": 2})
    assert '"at_seconds": null' in json.dumps(finding.as_json(), allow_nan=False)
    assert finding.as_json()["figures"] == {"a": None, "b": 2}
