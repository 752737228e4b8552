"""GitHub Actions: step summary and annotations, with no way out of either for a value."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from common.cli import ScriptError
from evidence.github import annotation_lines, command, markdown, step_summary, write_step_summary

# By path: `evidence` names the package in scripts/, so this folder can't be imported from.
_samples = runpy.run_path(str(Path(__file__).with_name("test_junit.py")))
sample_criterion = _samples["sample_criterion"]
sample_summary = _samples["sample_summary"]

COMMAND = re.compile(r"::(error|notice) title=[^:,\r\n]*::[^\r\n]*")


def failed_summary(count: int = 1) -> dict[str, Any]:
    """A run with `count` failed criteria."""
    criteria = [sample_criterion(f"late-{n}", "failed", 0.9) for n in range(count)]
    return {**sample_summary(), "verdict": "failed", "exit_code": 2, "criteria": criteria}


def test_outside_actions_nothing_happens(capsys: pytest.CaptureFixture[str]) -> None:
    write_step_summary({}, {})
    write_step_summary({}, {"GITHUB_ACTIONS": "false"})
    assert capsys.readouterr().out == ""


def test_summary_is_appended(tmp_path: Path) -> None:
    target = tmp_path / "summary.md"
    target.write_text("before\n")
    write_step_summary(sample_summary(), {"GITHUB_STEP_SUMMARY": str(target)})
    text = target.read_text(encoding="utf-8")
    assert text.startswith("before\n## ✓ passed: run&#95;proof&#95;pack\n")
    assert "| failed-jobs | at most 0.5 ratio | 0.05 ratio | ✓ passed |" in text
    assert "Does not count for a release&#58; self-signed" in text
    assert "| submit p95 | 14.2 ms |" in text


def test_summary_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    environ = {"GITHUB_STEP_SUMMARY": str(tmp_path / "absent" / "summary.md")}
    with pytest.raises(ScriptError, match="check GITHUB_STEP_SUMMARY"):
        write_step_summary(sample_summary(), environ)


def test_contradicted_verdict_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "summary.md"
    with pytest.raises(ScriptError, match="contradicts itself"):
        write_step_summary(
            sample_summary() | {"criteria": []}, {"GITHUB_STEP_SUMMARY": str(target)}
        )
    assert not target.exists()


def test_failed_criteria_become_errors(capsys: pytest.CaptureFixture[str]) -> None:
    write_step_summary(failed_summary(2), {"GITHUB_ACTIONS": "true"})
    first, second = capsys.readouterr().out.splitlines()
    assert first == (
        "::error title=run_proof_pack%3A late-0 failed::"
        "/jobs/failed_ratio: expected at most 0.5 ratio, got 0.9 ratio"
    )
    assert "late-1" in second


def test_passed_run_is_one_notice() -> None:
    (line,) = annotation_lines(sample_summary())
    assert line.startswith("::notice title=run_proof_pack passed::All 2 criteria")


def test_failed_run_without_a_failed_criterion_is_an_error() -> None:
    summary = {**failed_summary(0), "error": "the stack did not start"}
    assert annotation_lines(summary) == [
        "::error title=run_proof_pack failed::the stack did not start"
    ]


def test_unmeasured_criterion_is_an_error() -> None:
    summary = {**failed_summary(), "verdict": "inconclusive"}
    summary["criteria"] = [sample_criterion("late", "inconclusive", None)]
    (line,) = annotation_lines(summary)
    assert line.startswith("::error title=run_proof_pack%3A late inconclusive::")


def test_more_annotations_than_github_shows_are_counted() -> None:
    lines = annotation_lines(failed_summary(25))
    assert len(lines) == 10
    assert "16 more criteria did not pass" in lines[-1]


def test_escapes_of_workflow_commands() -> None:
    """docs.github.com: %, CR and LF in data; these and : and , in properties."""
    assert command("error", "a:b,c%\n", "50%\r\n::set-env") == (
        "::error title=a%3Ab%2Cc%25%0A::50%25⟨U+000D⟩%0A::set-env"
    )


@pytest.mark.parametrize(
    "text", ["x\n::error::y", "a,line=1::b", "\r::stop-commands::t", "\u2028::x"]
)
def test_value_cannot_start_a_command_of_its_own(text: str) -> None:
    summary = failed_summary()
    summary |= {"script": text}
    summary["criteria"] = [sample_criterion(text, "failed", text) | {"metric": text}]
    for line in annotation_lines(summary):
        assert COMMAND.fullmatch(line)
        assert len(line.splitlines()) == 1


def test_console_without_the_characters_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "console").open("w", encoding="cp1252") as console:
        monkeypatch.setattr("sys.stdout", console)
        summary = {**failed_summary(0), "error": "日本"}
        write_step_summary(summary, {"GITHUB_ACTIONS": "true"})
    assert "\\u65e5" in (tmp_path / "console").read_text(encoding="cp1252")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a | b | c",
        "[x](javascript:alert(1)) ![y](https://z)",
        "**bold** `code` ~~x~~ #1 @user www.example.com",
        "line\n\n# heading\n| a |",
        "&lt;b&gt; \\| $x$",
    ],
)
def test_markdown_has_nothing_to_read_into(text: str) -> None:
    shown = markdown(text)
    assert not set("<>|[]()`*_~#@!\\$\n:/") & set(re.sub(r"&#\d+;", "", shown))
    assert "www." not in shown
    rows = step_summary({**failed_summary(), "criteria": [sample_criterion(text, "failed", text)]})
    (row,) = [line for line in rows.splitlines() if "✗ failed |" in line]
    assert row.count("|") == 5


def test_markdown_keeps_figures_readable() -> None:
    assert markdown("0.8499996") == "0.8499996"


def test_ten_thousand_criteria_are_bounded(tmp_path: Path) -> None:
    target = tmp_path / "summary.md"
    write_step_summary(failed_summary(10_000), {"GITHUB_STEP_SUMMARY": str(target)})
    assert target.stat().st_size < 200_000
    assert "9900 more criteria not shown." in target.read_text(encoding="utf-8")


def test_run_without_jobs_says_not_measured() -> None:
    summary = failed_summary(0) | {"jobs": None, "latency": None}
    text = step_summary(summary)
    assert "Criteria: not measured." in text
    assert "| Jobs completed | not measured |" in text
