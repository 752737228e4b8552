"""evidence.criteria, where mutants lived: what a gate file says is what is judged (H8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.cli import ConfigurationError
from evidence import criteria
from evidence.criteria import Criterion, judge, load_criteria, unseen
from stack.runtime import runtime_names

if TYPE_CHECKING:
    from pathlib import Path

GATE = """\
version: 1
name: made_up
evidence: x.json
criteria:
  - {id: local, metric: /local, equals: ok, unit: word, why: "First.", not_for: [process]}
  - {id: lost, metric: /counts/lost, at_most: 2, unit: jobs, why: "Second.", exit_code: 3}
  - {id: boxes, metric: /boxes, below: 9, unit: boxes, why: "Third.", only_for: [compose]}
  - {id: free, metric: /free, above: 0.5, unit: ratio, why: "Fourth."}
"""
LOST = Criterion("lost", "/counts/lost", "at_most", 2, "jobs", "Second.", 3)
FREE = Criterion("free", "/free", "above", 0.5, "ratio", "Fourth.", None)
BOXES = Criterion("boxes", "/boxes", "below", 9, "boxes", "Third.", None)
LOCAL = Criterion("local", "/local", "equals", "ok", "word", "First.", None)


@pytest.fixture(autouse=True)
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(criteria, "GATE_FOLDER", tmp_path)
    (tmp_path / "made_up.yaml").write_text(GATE)


def test_a_criterion_is_what_its_line_says() -> None:
    assert load_criteria("made_up") == (LOCAL, LOST, BOXES, FREE)


def test_only_what_a_runtime_cannot_see_is_left_out_for_it() -> None:
    """What follows the criterion that is left out is still judged."""
    assert load_criteria("made_up", "process") == (LOST, FREE)
    assert load_criteria("made_up", "external") == (LOCAL, LOST, FREE)
    assert load_criteria("made_up", "compose") == (LOCAL, LOST, BOXES, FREE)


def test_what_a_runtime_cannot_see_is_named_and_what_it_does_not_owe_is_not() -> None:
    assert unseen("made_up", "process") == ("local",)
    assert unseen("made_up", "compose") == unseen("made_up", "external") == ()


@pytest.mark.parametrize("key", ["not_for", "only_for"])
def test_a_runtime_that_there_is_not_is_refused_with_its_line(tmp_path: Path, key: str) -> None:
    path = tmp_path / "made_up.yaml"
    path.write_text(
        f"{GATE}  - {{id: x, metric: /x, equals: 1, unit: u, why: w,\n     {key}: [moon]}}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        load_criteria("made_up")
    names = ", ".join(sorted(runtime_names()))
    assert str(caught.value) == (
        f"{path}:10: criteria.4.{key}: expected a runtime ({names}), got 'moon'"
    )


@pytest.mark.parametrize("observed", [1, 0.25, "text", None])
def test_a_plain_observation_stays_as_it_is(observed: object) -> None:
    found = judge([LOST], {"counts": {"lost": observed}})[0]
    assert (found.observed, type(found.observed)) == (observed, type(observed))


@pytest.mark.parametrize(
    ("observed", "shown"), [(True, "True"), ([1], "[1]"), (float("nan"), "nan")]
)
def test_any_other_observation_enters_evidence_as_text(observed: object, shown: str) -> None:
    found = judge([LOST], {"counts": {"lost": observed}})[0]
    assert (found.observed, found.outcome) == (shown, "failed")


def test_the_entry_of_the_summary_names_everything_but_the_exit_code() -> None:
    assert judge([LOST], {"counts": {"lost": 3}})[0].as_json() == {
        "id": "lost",
        "metric": "/counts/lost",
        "rule": "at_most",
        "expected": 2,
        "unit": "jobs",
        "why": "Second.",
        "observed": 3,
        "outcome": "failed",
    }


PARTS = """\
version: 1
name: made_up
evidence: x.json
criteria:
  - {id: mine, metric: /measured/mine/a, equals: 0, unit: x, why: "First."}
  - {id: others, metric: /measured/others/a, equals: 0, unit: x, why: "Second."}
  - {id: common, metric: /a, equals: 0, unit: x, why: "Third."}
"""


def test_what_another_script_measures_is_not_judged_and_is_named(tmp_path: Path) -> None:
    """A part of a gate that runs by itself can't pass by what it has not measured."""
    (tmp_path / "made_up.yaml").write_text(PARTS)
    assert [item.id for item in load_criteria("made_up", parts=["mine"])] == ["mine", "common"]
    assert unseen("made_up", "process", parts=["mine"]) == ("others",)
    assert len(load_criteria("made_up", parts=["mine", "others"])) == 3
    assert unseen("made_up", "process") == ()
