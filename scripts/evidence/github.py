"""What GitHub Actions shows of a run: a step summary and annotations.

Source: docs.github.com, "Workflow commands for GitHub Actions"; issue 2, item 6.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from evidence.consistency import check_consistent, records
from evidence.junit import criterion_line
from evidence.plots import MARKS, duration, known, legible
from evidence.report import meaning, number, quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# GitHub shows ten annotations of a kind per step and a step summary of up to 1 MiB.
MAXIMUM_ANNOTATIONS = 10
MAXIMUM_ROWS = 100
MAXIMUM_TEXT = 300
# Every punctuation mark that Markdown, HTML, or GitHub's own links give a meaning to.
_SPECIAL = re.compile(r"[!-+/:-@\[-`{-~]|\.(?=[A-Za-z])")


def write_step_summary(
    summary: Mapping[str, object], environ: Mapping[str, str] = os.environ
) -> None:
    """Append the run to the step summary and print annotations; outside Actions do nothing.

    Args:
        summary: a summary document; every text in it may be hostile.
        environ: where GITHUB_STEP_SUMMARY and GITHUB_ACTIONS are looked up.

    Raises:
        ScriptError: the summary contradicts itself, or the file can't be written.
    """
    target = environ.get("GITHUB_STEP_SUMMARY")
    actions = environ.get("GITHUB_ACTIONS") == "true"
    if not target and not actions:
        return
    check_consistent(summary)
    if target:
        _append(Path(target), step_summary(summary))
    if actions:
        for line in annotation_lines(summary):
            _print_line(line)


def step_summary(summary: Mapping[str, Any]) -> str:
    """The run as GitHub-flavoured Markdown: verdict, criteria, figures."""
    verdict = summary["verdict"]
    eligible = summary.get("eligible") or {}
    reasons = "; ".join(map(str, eligible.get("reasons") or ["no reason was recorded"]))
    counts = "" if eligible.get("value") is True else f" Does not count for a release: {reasons}."
    lines = [
        f"## {MARKS[verdict]} {verdict}: {markdown(summary.get('script'))}",
        "",
        markdown(meaning(summary)) + markdown(counts, 1000),
        "",
    ]
    if summary.get("error"):
        lines += [f"**Error:** {markdown(summary['error'])}", ""]
    return "\n".join([*lines, *_criteria(summary), "", *_figures(summary)]) + "\n"


def _criteria(summary: Mapping[str, Any]) -> list[str]:
    rows = records(summary, "criteria")
    if not rows:
        return ["Criteria: not measured."]
    cells: list[Sequence[str]] = []
    for row in rows[:MAXIMUM_ROWS]:
        outcome = known(row.get("outcome"), MARKS, "outcome")
        unit = f" {row.get('unit') or ''}".rstrip()
        rule = str(row.get("rule")).replace("_", " ")
        expected = f"{rule} {quantity(row.get('expected'))}{unit}"
        observed = quantity(row.get("observed")) + ("" if row.get("observed") is None else unit)
        values = (row.get("id"), expected, observed, f"{MARKS[outcome]} {outcome}")
        cells.append([markdown(value) for value in values])
    lines = _table(("Criterion", "Expected", "Observed", "Outcome"), cells)
    more = len(rows) - MAXIMUM_ROWS
    return [*lines, "", f"{more} more criteria not shown."] if more > 0 else lines


def _figures(summary: Mapping[str, Any]) -> list[str]:
    seconds = number(summary.get("duration_seconds"))
    commit = summary.get("commit") or {}
    rows: list[tuple[str, object]] = [
        ("Run", summary.get("run_id")),
        ("Duration", "not measured" if seconds is None else duration(seconds)),
        ("Commit", commit.get("sha") or "not in a git checkout"),
        ("Runtime", summary.get("runtime")),
    ]
    jobs = summary.get("jobs") or {}
    names = ("planned", "completed", "failed", "timed_out", "lost")
    rows += [(f"Jobs {name.replace('_', ' ')}", quantity(jobs.get(name))) for name in names]
    latency = summary.get("latency") or {}
    for step, row in sorted(latency.items())[:MAXIMUM_ROWS]:
        for name in ("p50_ms", "p95_ms", "p99_ms"):
            value = number(row.get(name))
            shown = "not measured" if value is None else duration(value / 1000)
            rows.append((f"{step} {name.removesuffix('_ms')}", shown))
    return _table(("Figure", "Value"), [[markdown(cell) for cell in row] for row in rows])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def markdown(value: object, limit: int = MAXIMUM_TEXT) -> str:
    """Text that neither Markdown nor HTML nor GitHub's links can read anything into."""
    line = " ".join(legible(value, limit).split())
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", line)


def annotation_lines(summary: Mapping[str, Any]) -> list[str]:
    """Workflow commands: an error for each criterion that is not passed, or one notice."""
    script, verdict = summary.get("script"), summary["verdict"]
    if verdict == "passed":
        return [command("notice", f"{script} passed", meaning(summary))]
    bad = [
        command("error", f"{script}: {row.get('id')} {row.get('outcome')}", criterion_line(row))
        for row in records(summary, "criteria")
        if row.get("outcome") != "passed"
    ]
    if not bad:
        text = str(summary.get("error") or meaning(summary))
        return [command("error", f"{script} {verdict}", text)]
    if len(bad) > MAXIMUM_ANNOTATIONS:
        kept = MAXIMUM_ANNOTATIONS - 1
        rest = f"{len(bad) - kept} more criteria did not pass: see report.html"
        return [*bad[:kept], command("error", f"{script} {verdict}", rest)]
    return bad


def command(kind: str, title: str, message: str) -> str:
    """One workflow command, escaped so that a value can't end it or start another."""
    return f"::{kind} title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    short = legible(text, 1000).replace("%", "%25")
    return short.replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text[:200]).replace(":", "%3A").replace(",", "%2C")


def _print_line(line: str) -> None:
    # The console of a Windows runner may not know the characters of a hostile name.
    encoding = sys.stdout.encoding or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _append(target: Path, text: str) -> None:
    try:
        with target.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except OSError as problem:
        raise ScriptError(
            f"can't write the step summary {target}: {problem.strerror}: check GITHUB_STEP_SUMMARY"
        ) from problem
