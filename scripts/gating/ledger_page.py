"""The ledger for people: how each gate stands, and the execution log, as text or Markdown."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from evidence.judging import INCONCLUSIVE, PASSED
from gating.ledger_runs import (
    CONTRACT,
    ENDED,
    REMEDIATE,
    RESOLVE,
    STARTED,
    gate_runs,
    process_lives,
    short,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gating.ledger_chain import Entry
    from gating.ledger_runs import LoggedRun

RUNNING, ABANDONED = "running", "abandoned"
NOT_RUN, REHEARSED_ONLY = "not run", "rehearsed only"
DOES_NOT_COUNT = "passed, does not count"
COLUMNS = ("gate", "status", "run", "commit", "runtime", "date", "next step")
LOG_COLUMNS = ("seq", "time", "entry", "gate", "run", "what")
# Whatever could steer a terminal, break a line or turn text around.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~&])")


@dataclass(frozen=True)
class GateStatus:
    """One row of the table of gates."""

    gate: str
    status: str
    run_id: str
    commit: str
    runtime: str
    date_utc: str
    next_step: str

    def as_json(self) -> dict[str, str]:
        """The row as JSON."""
        return asdict(self)


def gate_status(
    entries: Sequence[Entry],
    gate: str,
    next_step: str,
    *,
    is_alive: Callable[[int, str], bool] = process_lives,
    stack_name: str | None = None,
) -> GateStatus:
    """How a gate stands by its runs.

    Args:
        entries: verified ones, all of them.
        gate: its name.
        next_step: what to do, by the rules; said with the status.
        is_alive: whether the process of this pid and birth still lives.
        stack_name: only runs of the stack of this name; all by default.
    """
    status, run = _standing(gate_runs(entries, gate, stack_name), is_alive)
    if run is None:
        return GateStatus(gate, status, "", "", "", "", next_step)
    commit = short(run.commit_sha) if run.commit_sha else "unknown"
    commit += " with changes" if run.commit_dirty else ""
    where = (commit, run.runtime or "unknown")
    return GateStatus(gate, status, run.run_id, *where, run.time_utc[:10], next_step)


def _standing(
    runs: Sequence[LoggedRun], is_alive: Callable[[int, str], bool]
) -> tuple[str, LoggedRun | None]:
    """The status in a word, and the run that it comes from. What counts goes first."""
    by_age = sorted(runs, key=lambda run: run.seq)
    for run in by_age:
        if run.open and is_alive(run.pid, run.birth):
            return RUNNING, run
    counted = [run for run in by_age if run.failed or (run.passed and run.doubt is None)]
    if counted:
        return str(counted[-1].verdict), counted[-1]
    real = [run for run in by_age if not run.rehearsal]
    passed = [run for run in real if run.verdict == PASSED]
    if passed:
        return f"{DOES_NOT_COUNT}: {passed[-1].doubt}", passed[-1]
    if real:
        return (ABANDONED if real[-1].open else INCONCLUSIVE), real[-1]
    if by_age:
        return REHEARSED_ONLY, by_age[-1]
    return NOT_RUN, None


def log_rows(
    entries: Sequence[Entry], is_alive: Callable[[int, str], bool] = process_lives
) -> list[tuple[str, ...]]:
    """The execution log: a row for each entry, with nothing left out."""
    runs = {(run.gate, run.run_id): run for run in gate_runs(entries)}
    replaced = _replaced(entries)
    rows: list[tuple[str, ...]] = []
    for entry in entries:
        gate, run_id = (str(entry.fields.get(key, "")) for key in ("gate", "run_id"))
        what = _what(entry, runs.get((gate, run_id)), is_alive) + replaced.get(entry.seq, "")
        time = entry.time_utc[:19].replace("T", " ")
        rows.append((str(entry.seq), time, entry.entry, gate, run_id, what))
    return rows


def _replaced(entries: Sequence[Entry]) -> dict[int, str]:
    """What to say of a root cause that another one has replaced, and of that one."""
    newest: dict[tuple[object, object], int] = {}
    said: dict[int, str] = {}
    for entry in entries:
        if entry.entry != RESOLVE:
            continue
        key = (entry.fields.get("gate"), entry.fields.get("run_id"))
        if key in newest:
            said[newest[key]] = said.get(newest[key], "") + f" (replaced by entry {entry.seq})"
            said[entry.seq] = f" (replaces entry {newest[key]})"
        newest[key] = entry.seq
    return said


def _what(entry: Entry, run: LoggedRun | None, is_alive: Callable[[int, str], bool]) -> str:
    say: dict[str, Any] = dict(entry.fields)
    if entry.entry == STARTED and run is not None:
        state = ""
        if run.open:
            state = f", {RUNNING if is_alive(run.pid, run.birth) else ABANDONED}"
        return f"{_kind(run)} on commit {_commit(run)}{state}"
    if entry.entry == ENDED and run is not None:
        reasons = f" ({'; '.join(run.reservations)})" if run.reservations else ""
        return f"{_kind(run)} {run.verdict} on commit {_commit(run)}{reasons}"
    if entry.entry == RESOLVE:
        return f"root cause: {say.get('root_cause')}; fixed by {short(say.get('fix_commit'))}"
    if entry.entry == REMEDIATE:
        texts = (f"{name}: {say.get(name)}" for name in ("examined", "changes", "by"))
        return "; ".join(texts)
    if entry.entry == CONTRACT:
        return f"{say.get('stack')}: version {say.get('version')} is {say.get('sha256')}"
    return "; ".join(f"{key}: {value}" for key, value in say.items())


def _kind(run: LoggedRun) -> str:
    return "rehearsal" if run.rehearsal else "run"


def _commit(run: LoggedRun) -> str:
    return short(run.commit_sha) + (" with changes" if run.commit_dirty else "")


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns; the last one is as long as it is."""
    clean = [[_CONTROL.sub(" ", cell) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*clean, strict=True)][:-1]
    lines = (
        "  ".join([*(f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in clean
    )
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose cells can't be anything but text."""
    lines = [
        [*columns],
        ["---"] * len(columns),
        *([_escaped(cell) for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(cell: str) -> str:
    return _MARKDOWN.sub(r"\\\1", _CONTROL.sub(" ", cell))
