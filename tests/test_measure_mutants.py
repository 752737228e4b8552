"""measure_mutants.py: a run that changed nothing, or not all, is no pass (H8)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import measure_mutants
import pytest

from analysis import mutants
from analysis.mutants import Plan, by_module, counts, load_plan, prepare, results
from common.cli import ConfigurationError, Exit

if TYPE_CHECKING:
    from pathlib import Path

LISTED = """\
    evidence.trace.xǁTraceǁadd__mutmut_1: killed
    evidence.trace.x_head__mutmut_2: survived
    evidence.judging.x_rule__mutmut_1: timeout
    evidence.judging.x_rule__mutmut_2: no tests
    evidence.judging.x_rule__mutmut_3: suspicious
"""


def test_each_mutant_is_one_of_five_kinds() -> None:
    assert list(results(f"nonsense\n{LISTED}").values()) == [
        "killed",
        "survived",
        "timeout",
        "untested",
        "unclear",
    ]


def test_a_score_counts_what_was_noticed_and_is_null_for_nothing() -> None:
    assert counts(results(LISTED))["score"] == 0.4
    assert counts({})["score"] is None


def test_a_module_without_a_mutant_is_listed_with_none() -> None:
    plan = Plan(("evidence/trace.py", "evidence/claims.py"), ())
    found = by_module(results(LISTED), plan)
    assert found["evidence.trace"]["mutants"] == 2
    assert (found["evidence.claims"]["mutants"], found["evidence.claims"]["score"]) == (0, None)


def run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcomes: dict[str, str], *arguments: str
) -> tuple[Exit, str]:
    monkeypatch.setattr(measure_mutants, "measure", lambda _plan, _options: outcomes)
    monkeypatch.setattr(mutants, "version", lambda: "3")
    code = measure_mutants.main(["--output-dir", str(tmp_path), *arguments])
    return code, json.loads((tmp_path / "mutants.json").read_text("utf-8"))["verdict"]


def all_of(word: str, number: int = 200) -> dict[str, str]:
    names = [module[:-3].replace("/", ".") for module in load_plan().modules]
    return {f"{name}.x__mutmut_{index}": word for name in names for index in range(number)}


def test_all_killed_passes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, all_of("killed")) == (Exit.PASSED, "passed")


@pytest.mark.parametrize("outcomes", [{}, all_of("killed", 1), all_of("survived")])
def test_nothing_mutated_or_nothing_noticed_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcomes: dict[str, str]
) -> None:
    assert run(monkeypatch, tmp_path, outcomes) == (Exit.FAILED, "failed")


def test_a_module_that_was_not_tried_is_inconclusive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [f"evidence.judging.x__mutmut_{number}" for number in range(3200)]
    outcomes = dict.fromkeys(names, "killed")
    only = ("--only", "evidence/judging.py")
    assert run(monkeypatch, tmp_path, outcomes, *only) == (Exit.INCONCLUSIVE, "inconclusive")


def test_a_mutant_that_was_not_tried_to_its_end_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outcomes = all_of("killed") | {"evidence.judging.x__mutmut_999": "unclear"}
    assert run(monkeypatch, tmp_path, outcomes)[0] == Exit.FAILED


def test_a_module_that_the_plan_does_not_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected a module of"):
        load_plan(only=["evidence/nonsense.py"])


def test_the_plan_names_files_that_exist(tmp_path: Path) -> None:
    prepare(load_plan(), tmp_path)
    assert (tmp_path / "src/evidence/criteria.py").is_file()
    with pytest.raises(ConfigurationError, match=r"no src/gone\.py"):
        prepare(Plan(("gone.py",), ()), tmp_path / "other")


def test_every_module_of_the_plan_has_its_criterion() -> None:
    from evidence.criteria import load_criteria

    judged = {one.metric for one in load_criteria("mutation")}
    for module in load_plan().modules:
        assert f"/modules/{module[:-3].replace('/', '.')}/score" in judged
