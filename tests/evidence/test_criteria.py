"""evidence.criteria: criteria are data, and nothing passes on nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cli import ConfigurationError
from evidence import criteria
from evidence.criteria import Criterion, judge, load_criteria, verdict_of

if TYPE_CHECKING:
    from pathlib import Path


def rule(name: str, expected: float | str) -> Criterion:
    """A criterion on /value."""
    return Criterion("x", "/value", name, expected, "unit", "why", None)


def outcome(criterion: Criterion, value: object) -> str:
    return judge([criterion], {"value": value})[0].outcome


@pytest.mark.parametrize(
    ("name", "expected", "good", "bad"),
    [
        ("equals", 0, 0, 1),
        ("equals", "ok", "ok", "no"),
        ("at_most", 0.5, 0.5, 0.51),
        ("at_least", 3, 3, 2),
        ("below", 1, 0.99, 1),
        ("above", 1, 1.01, 1),
    ],
)
def test_each_rule_passes_and_fails(
    name: str, expected: float | str, good: object, bad: object
) -> None:
    assert outcome(rule(name, expected), good) == "passed"
    assert outcome(rule(name, expected), bad) == "failed"


@pytest.mark.parametrize("name", ["equals", "at_most", "at_least", "below", "above"])
@pytest.mark.parametrize(
    "value", [True, False, float("nan"), float("inf"), -float("inf"), "0", [], {}]
)
def test_what_is_no_finite_number_fails(name: str, value: object) -> None:
    """Design, "Verdicts": NaN and booleans fail a criterion."""
    assert outcome(rule(name, 0), value) == "failed"


@pytest.mark.parametrize("evidence", [{}, {"value": None}, [], None, {"values": 0}])
def test_what_was_not_measured_is_inconclusive(evidence: object) -> None:
    assert judge([rule("equals", 0)], evidence)[0].outcome == "inconclusive"


@given(st.lists(st.sampled_from(["passed", "failed", "inconclusive"]), max_size=6))
def test_a_verdict_is_passed_only_when_all_passed_and_there_are_some(outcomes: list[str]) -> None:
    found = verdict_of([criteria.Judgement(rule("equals", 0), 0, item) for item in outcomes])
    assert (found == "passed") == (set(outcomes) == {"passed"})
    assert (found == "failed") == ("failed" in outcomes)


@pytest.mark.parametrize("path", sorted(criteria.GATE_FOLDER.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_gate_file_is_valid_and_its_ids_are_unique(path: Path) -> None:
    found = load_criteria(path.stem)
    assert len({item.id for item in found}) == len(found) > 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("at_most: 1, at_least: 0", "oneOf"),
        ("", "equals|oneOf"),
        ("at_most: lots", "expected number"),
        ("at_most: 1, colour: red", "unknown key 'colour'"),
    ],
)
def test_a_broken_gate_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, says: str
) -> None:
    monkeypatch.setattr(criteria, "GATE_FOLDER", tmp_path)
    (tmp_path / "broken.yaml").write_text(
        "version: 1\nname: broken\nevidence: x.json\ncriteria:\n"
        f"  - {{id: x, metric: /x, unit: u, why: w, {change}}}\n"
    )
    with pytest.raises(ConfigurationError, match=says):
        load_criteria("broken")
    with pytest.raises(ConfigurationError, match="can't read"):
        load_criteria("missing")
