"""Static analysis: waivers are data that can go stale, and silence has to be earned (H7)."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from analysis.findings import (
    Finding,
    Report,
    Waiver,
    apply_waivers,
    check_controls,
    load_waivers,
)
from analysis.sarif import sarif
from common.cli import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

TODAY = date(2026, 11, 20)
FAULT = Finding("scripts/a.py", 3, "B602", "high", "a shell")
OTHER = Finding("scripts/b.py", 4, "B602", "high", "a shell")


def report(*findings: Finding) -> Report:
    return Report("bandit", "1.0", ("scripts/a.py", "scripts/b.py"), findings=findings)


def waiver(
    *paths: str, rule: str = "B602", at_most: int | None = None, expires: date | None = None
) -> Waiver:
    return Waiver("bandit", rule, paths or ("*",), at_most, "a reason of fifteen", expires)


def test_a_waived_finding_is_counted_and_not_lost() -> None:
    found = apply_waivers(report(FAULT, OTHER), [waiver("scripts/a.py")], TODAY)
    assert found.findings == (OTHER,)
    assert [item.finding for item in found.waived] == [FAULT]
    assert (found.as_json()["findings_count"], found.as_json()["waived_count"]) == (1, 1)


@pytest.mark.parametrize(
    ("stale", "says"),
    [
        (waiver("scripts/c.py"), "waives nothing"),
        (waiver(rule="B999"), "waives nothing"),
        (waiver(expires=date(2026, 11, 19)), "expired on 2026-11-19"),
        (waiver(at_most=1), "waives at most 1, got 2"),
    ],
)
def test_a_stale_waiver_is_a_finding_and_waives_nothing(stale: Waiver, says: str) -> None:
    found = apply_waivers(report(FAULT, OTHER), [stale], TODAY)
    assert found.waived == ()
    assert {FAULT, OTHER} < set(found.findings)
    assert any(item.rule == "waiver" and says in item.message for item in found.findings)


def test_a_waiver_of_another_tool_is_not_asked() -> None:
    other = Waiver("semgrep", "B602", ("*",), None, "a reason of fifteen", None)
    assert apply_waivers(report(FAULT), [other], TODAY).findings == (FAULT,)


def test_a_waiver_holds_on_its_last_day() -> None:
    assert apply_waivers(report(FAULT), [waiver(expires=TODAY)], TODAY).findings == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("reason: short", "at least 15"),
        ("reason: a reason of fifteen, expires: 2027-01-31", "put it in quotes"),
        ("reason: a reason of fifteen, expires: '2027-1-31'", "a date like"),
        ("reason: a reason of fifteen, colour: red", "unknown key 'colour'"),
    ],
)
def test_a_broken_waiver_file_is_refused(tmp_path: Path, change: str, says: str) -> None:
    path = tmp_path / "waivers.yaml"
    path.write_text(f"waivers:\n  - {{tool: bandit, rule: B602, paths: ['*'], {change}}}\n")
    with pytest.raises(ConfigurationError, match=says):
        load_waivers(path)


def test_the_waivers_of_this_checkout_have_reasons() -> None:
    assert load_waivers()


def control(tmp_path: Path) -> Path:
    path = tmp_path / "control.py"
    path.write_text("bad()  # forbidden: one two\ngood()\n")
    return path


def planted(line: int, rule: str) -> Finding:
    return Finding("control.py", line, rule, "high", "planted")


def test_planted_faults_that_are_found_are_no_findings(tmp_path: Path) -> None:
    seen = Report(
        "bandit", "1", ("a.py", "control.py"), findings=(planted(1, "one"), planted(1, "two"))
    )
    found = check_controls(seen, [control(tmp_path)], tmp_path)
    assert (found.findings, found.looked_at) == ((), ("a.py",))


@pytest.mark.parametrize(
    ("findings", "says"),
    [
        ([(1, "one")], "expected two to find the planted fault"),
        ([(1, "one"), (1, "two"), (2, "one")], "expected one to accept this line"),
        ([], "the rule is broken"),
    ],
)
def test_a_rule_that_misses_a_planted_fault_fails_the_run(
    tmp_path: Path, findings: list[tuple[int, str]], says: str
) -> None:
    seen = Report("bandit", "1", ("a.py",), findings=tuple(planted(*one) for one in findings))
    found = check_controls(seen, [control(tmp_path)], tmp_path)
    assert any(item.rule == "control" and says in item.message for item in found.findings)


def test_without_planted_faults_silence_is_a_finding(tmp_path: Path) -> None:
    assert check_controls(report(), [], tmp_path).findings


@pytest.mark.parametrize(
    ("silent", "count", "unseen"),
    [
        (Report("bandit", "1", ("a.py",)), 0, 0),
        (Report("bandit", "1", ()), None, 0),
        (Report("bandit", "1", ("a.py",), unseen=("b.py",)), None, 1),
        (Report("bandit", "1", ("a.py",), unseen=("b.py",), findings=(FAULT,)), 1, 1),
        (Report("pip-audit", "1", (), unseen=("b",), optional=True), None, None),
    ],
)
def test_nothing_found_counts_only_where_everything_was_looked_at(
    silent: Report, count: int | None, unseen: int | None
) -> None:
    found = silent.as_json()
    assert (found["findings_count"], found["unseen_count"]) == (count, unseen)


def test_sarif_has_a_run_for_each_tool_and_suppresses_what_is_waived() -> None:
    one = apply_waivers(report(FAULT, OTHER), [waiver("scripts/a.py")], TODAY)
    blind = Report("semgrep", "1", (), unseen=("a.py",), note="why")
    log = sarif([one, blind])
    first, second = log["runs"]
    assert [result.get("suppressions") is not None for result in first["results"]] == [False, True]
    assert first["results"][0]["level"] == "error"
    assert second["invocations"][0]["executionSuccessful"] is False
