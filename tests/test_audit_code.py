"""audit_code.py: three-valued verdicts, and a report that its schema accepts (H7)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import audit_code
import pytest

from analysis import findings
from analysis.findings import Finding, Report
from common.cli import Exit

if TYPE_CHECKING:
    from pathlib import Path

CLEAN = {
    "bandit": Report("bandit", "1", ("a.py",)),
    "semgrep": Report("semgrep", "1", ("a.py",)),
    "pip-audit": Report("pip-audit", "1", ("abc==1.0",), optional=True),
    "pip-licenses": Report("pip-licenses", "1", ("abc",)),
}
FAULT = Finding("a.py", 1, "x", "high", "planted")


@pytest.fixture(autouse=True)
def no_waivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "waivers.yaml").write_text("waivers: []\n")
    monkeypatch.setattr(findings, "RULES", tmp_path)


def audit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **changes: Report
) -> tuple[Exit, dict[str, str], str]:
    """What the script comes to when its tools come to this."""
    reports = CLEAN | {report.tool: report for report in changes.values()}
    monkeypatch.setattr(audit_code, "measure", lambda _options: list(reports.values()))
    code = audit_code.main(["--output-dir", str(tmp_path / "out")])
    result = json.loads((tmp_path / "out/static_analysis.json").read_text("utf-8"))
    log = json.loads((tmp_path / "out/static_analysis.sarif").read_text("utf-8"))
    assert [run["tool"]["driver"]["name"] for run in log["runs"]] == list(CLEAN)
    return code, result["outcomes"], result["verdict"]


def test_four_clean_tools_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, outcomes, verdict = audit(monkeypatch, tmp_path)
    assert (code, verdict, set(outcomes.values())) == (Exit.PASSED, "passed", {"passed"})


@pytest.mark.parametrize("name", CLEAN)
def test_a_finding_of_any_tool_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    bad = replace(CLEAN[name], findings=(FAULT,))
    code, outcomes, verdict = audit(monkeypatch, tmp_path, bad=bad)
    assert (code, verdict, outcomes[name]) == (Exit.FAILED, "failed", "failed")


@pytest.mark.parametrize("name", ["bandit", "semgrep", "pip-licenses"])
@pytest.mark.parametrize("change", ["nothing", "not all"])
def test_a_tool_that_did_not_look_at_everything_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, change: str
) -> None:
    blind = replace(CLEAN[name], looked_at=()) if change == "nothing" else CLEAN[name]
    blind = blind if change == "nothing" else replace(blind, unseen=("b.py",))
    code, outcomes, _ = audit(monkeypatch, tmp_path, blind=blind)
    assert (code, outcomes[name]) == (Exit.FAILED, "failed")


def test_a_service_that_could_not_be_asked_is_inconclusive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = replace(CLEAN["pip-audit"], looked_at=(), unseen=("abc==1.0",), note="no route")
    code, outcomes, verdict = audit(monkeypatch, tmp_path, silent=silent)
    assert (code, verdict) == (Exit.INCONCLUSIVE, "inconclusive")
    assert (outcomes["pip-audit"], outcomes["bandit"]) == ("inconclusive", "passed")
    assert "INCONCLUSIVE" in capsys.readouterr().out


def test_a_fault_weighs_more_than_a_silent_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    silent = replace(CLEAN["pip-audit"], looked_at=(), unseen=("abc==1.0",))
    bad = replace(CLEAN["bandit"], findings=(FAULT,))
    assert audit(monkeypatch, tmp_path, silent=silent, bad=bad)[0] == Exit.FAILED


def test_an_environment_may_be_named_by_its_folder_or_its_interpreter(tmp_path: Path) -> None:
    interpreter = tmp_path / "bin/python"
    interpreter.parent.mkdir()
    interpreter.write_text("")
    assert audit_code.python_of(tmp_path) == audit_code.python_of(interpreter) == interpreter
