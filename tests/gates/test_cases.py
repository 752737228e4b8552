"""Case folders of gates: `pass`, and one `fail_<criterion>` for each criterion of the gate.

`pass/evidence.json` is what a run may have measured; a `fail_…/patch.json` (RFC 7386, JSON
Merge Patch) changes it so that exactly this criterion fails.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.schema import check_value
from evidence.criteria import Criterion, judge, load_criteria, verdict_of
from gating.gate_file import gate_names, load_gate

HERE = Path(__file__).parent
CASES = [(gate, item.id) for gate in gate_names() for item in load_criteria(gate)]


def evidence(gate: str) -> Any:
    return json.loads((HERE / gate / "pass/evidence.json").read_text())


def merged(value: Any, patch: Any) -> Any:
    """JSON Merge Patch."""
    if not isinstance(patch, dict):
        return patch
    base = dict(value) if isinstance(value, dict) else {}
    for key, part in patch.items():
        if part is None:
            base.pop(key, None)
        else:
            base[key] = merged(base.get(key), part)
    return base


def outcomes(criteria: tuple[Criterion, ...], value: Any) -> dict[str, str]:
    return {item.criterion.id: item.outcome for item in judge(criteria, value)}


@pytest.mark.parametrize("gate", gate_names())
def test_the_folders_are_the_criteria(gate: str) -> None:
    """A criterion without a case in which it fails is no check; nor is a case of none."""
    folders = {path.name for path in (HERE / gate).iterdir() if path.is_dir()}
    assert folders == {"pass", *(f"fail_{item.id}" for item in load_criteria(gate))}


@pytest.mark.parametrize("gate", gate_names())
def test_the_good_case_passes_and_is_what_its_script_writes(gate: str) -> None:
    value = evidence(gate)
    assert verdict_of(judge(load_criteria(gate), value)) == "passed"
    for part in load_gate(gate).parts:
        name = part.load().EVIDENCE
        check_value(value["measured"][name], name, f"{gate}/pass/evidence.json")


@pytest.mark.parametrize(("gate", "criterion"), CASES)
def test_each_bad_case_fails_its_own_criterion_only(gate: str, criterion: str) -> None:
    patch = json.loads((HERE / gate / f"fail_{criterion}/patch.json").read_text())
    found = outcomes(load_criteria(gate), merged(evidence(gate), patch))
    assert {name for name, outcome in found.items() if outcome != "passed"} == {criterion}
    assert found[criterion] == "failed"


@pytest.mark.parametrize(("gate", "criterion"), CASES)
def test_what_was_not_measured_does_not_pass(gate: str, criterion: str) -> None:
    criteria = load_criteria(gate)
    metric = next(item.metric for item in criteria if item.id == criterion)
    patch: Any = None
    for key in reversed(metric.strip("/").split("/")):
        patch = {key: patch}
    found = outcomes(criteria, merged(evidence(gate), patch))
    assert found[criterion] == "inconclusive"
