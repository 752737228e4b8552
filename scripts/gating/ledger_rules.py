"""The rules of gates (G7) on the entries of a ledger: pure functions, one clear line each.

- A gate starts only after the one it requires has passed: in full, on this commit, with
  this contract and this stack, and has not failed since.
- After a failure: a root cause and a fix commit that the rerun's commit contains.
- After two failures since the last pass: a remediation newer than the latest of them.
- A run whose process still lives keeps another run of the same gate out.
- Rehearsals may run at any time, and count as nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from common.cli import ScriptError
from evidence.judging import PASSED
from gating.ledger_runs import REMEDIATE, LoggedRun, gate_runs, process_lives, short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gating.ledger_chain import Entry

FAILURES_TO_REMEDIATE = 2
LEDGER_SCRIPT = "python scripts/ledger.py"


class GateError(ScriptError):
    """A gate that may not start: why, and the command that helps."""


def check_may_start(
    entries: Sequence[Entry],
    gate: str,
    requires: str | None,
    *,
    commit: Mapping[str, object],
    contract_sha256: str,
    stack_sha256: str,
    rehearsal: bool,
    is_ancestor: Callable[[str, str], bool],
    is_alive: Callable[[int, str], bool] = process_lives,
    stack_name: str | None = None,
) -> None:
    """Hold the start of a gate against everything that the ledger knows.

    Args:
        entries: verified ones, all of them.
        gate: its name.
        requires: the gate that has to pass before this one.
        commit: `sha` and `dirty` of the run that wants to start.
        contract_sha256: of the stack file and the gate files, as they are now.
        stack_sha256: of the stack file alone.
        rehearsal: it is one: it may start, and will count as nothing.
        is_ancestor: whether the second commit contains the first.
        is_alive: whether the process of this pid and birth still lives.
        stack_name: only runs of the stack of this name matter; all by default.

    Raises:
        GateError: it may not start.

    Source: requirements G7.
    """
    if rehearsal:
        return
    mine = gate_runs(entries, gate, stack_name)
    sha = commit.get("sha")
    now = sha if isinstance(sha, str) else None
    _check_alone(mine, gate, is_alive)
    _check_resolved(mine, gate, now, is_ancestor)
    _check_remediated(entries, mine, gate)
    if requires is None:
        return
    if now is None or commit.get("dirty") is not False:
        what = "the commit is not known" if now is None else "the working tree has changes"
        why = f"{what}, and {requires} has to have passed on this very commit"
        _refuse(gate, why, "commit what has changed, or add --rehearse")
    subject = Subject(now, contract_sha256, stack_sha256)
    reason = why_not_passed(entries, requires, subject, stack_name)
    if reason:
        _refuse(gate, *reason)


@dataclass(frozen=True)
class Subject:
    """What a pass has to be of: this commit, this contract, this stack file."""

    commit_sha: str
    contract_sha256: str
    stack_sha256: str

    def is_of(self, run: LoggedRun) -> bool:
        """Whether the run was of this, with nothing changed in the working tree."""
        return (run.commit_sha, run.commit_dirty, run.contract_sha256, run.stack_sha256) == (
            self.commit_sha,
            False,
            self.contract_sha256,
            self.stack_sha256,
        )


def why_not_passed(
    entries: Sequence[Entry], gate: str, subject: Subject, stack_name: str | None = None
) -> tuple[str, str] | None:
    """Why a gate's pass does not stand for this subject, and what helps.

    None where it stands, and so does the pass of every gate that its run required.
    """
    wanted: str | None = gate
    seen: set[str] = set()
    while wanted is not None and wanted not in seen:
        seen.add(wanted)
        runs = gate_runs(entries, wanted, stack_name)
        passes = [run for run in runs if run.passed and subject.is_of(run)]
        if not passes:
            return _nearest(runs, wanted, subject), f"run `nox -s {wanted}`"
        last = max(passes, key=lambda run: run.seq)
        later = [run for run in runs if run.failed and run.seq > last.seq]
        if later:
            newest = max(later, key=lambda run: run.seq)
            why = f"{wanted} has failed since it passed (run {newest.run_id} on {newest.where})"
            return why, f"resolve it, then run `nox -s {wanted}`"
        wanted = last.requires
    return None


def _nearest(runs: Sequence[LoggedRun], gate: str, subject: Subject) -> str:
    """What comes nearest to the pass that is missing."""
    here = f"{gate} has not passed on commit {short(subject.commit_sha)}"
    passes = sorted((run for run in runs if run.verdict == PASSED), key=lambda run: run.seq)
    counted = [run for run in passes if run.passed]
    on_commit = [run for run in passes if run.commit_sha == subject.commit_sha]
    full = [run for run in on_commit if run.passed]
    if full:
        return f"{here} {_difference(full[-1], subject)}"
    if on_commit and on_commit[-1].rehearsal:
        return f"{here}: its rehearsal {on_commit[-1].run_id} does not count"
    if on_commit:
        run = on_commit[-1]
        return f"{here}: run {run.run_id} does not count ({run.reservations[0]})"
    return f"{here}: it passed on {counted[-1].where}" if counted else here


def _difference(run: LoggedRun, subject: Subject) -> str:
    if run.commit_dirty is not False:
        return f"without changes: run {run.run_id} had some in its working tree"
    if run.contract_sha256 != subject.contract_sha256:
        new, old = short(subject.contract_sha256), short(run.contract_sha256)
        return f"with this contract: expected {new}, got {old} in run {run.run_id}"
    new, old = short(subject.stack_sha256), short(run.stack_sha256)
    return f"with this stack file: expected {new}, got {old} in run {run.run_id}"


def _check_alone(
    runs: Sequence[LoggedRun], gate: str, is_alive: Callable[[int, str], bool]
) -> None:
    for run in runs:
        if run.open and is_alive(run.pid, run.birth):
            _refuse(gate, f"run {run.run_id} of it goes on (pid {run.pid})", "wait for its end")


def _check_resolved(
    runs: Sequence[LoggedRun],
    gate: str,
    commit_sha: str | None,
    is_ancestor: Callable[[str, str], bool],
) -> None:
    """A cause for every failure; the fixes of those since the last pass in this commit."""
    fresh = failures_since_pass(runs)
    for run in runs:
        if not run.failed:
            continue
        fix = run.resolved.fields.get("fix_commit") if run.resolved else None
        if not isinstance(fix, str):
            command = f"{LEDGER_SCRIPT} resolve {run.run_id} --root-cause TEXT --fix-commit SHA"
            why = f"its run {run.run_id} failed on commit {run.where}"
            _refuse(gate, why, f"resolve it first: `{command}`")
        if run in fresh and (commit_sha is None or not is_ancestor(fix, commit_sha)):
            why = f"commit {short(commit_sha)} lacks {short(fix)}, the fix of run {run.run_id}"
            _refuse(gate, why, f"check out a commit that contains {fix}")


def _check_remediated(entries: Sequence[Entry], runs: Sequence[LoggedRun], gate: str) -> None:
    failures = failures_since_pass(runs)
    if len(failures) < FAILURES_TO_REMEDIATE:
        return
    newest = failures[-1]
    done = any(
        entry.entry == REMEDIATE
        and entry.seq > newest.seq
        and (entry.fields.get("gate"), entry.fields.get("run_id")) == (gate, newest.run_id)
        for entry in entries
    )
    if not done:
        options = "--examined TEXT --changes TEXT --by NAME"
        why = f"it has failed {len(failures)} times since it passed"
        command = f"{LEDGER_SCRIPT} remediate {newest.run_id} {options}"
        _refuse(gate, why, f"remediate it first: `{command}`")


def failures_since_pass(runs: Sequence[LoggedRun]) -> tuple[LoggedRun, ...]:
    """The failed runs of one gate since it last passed on a clean commit, oldest first."""
    last_pass = max(
        (run.seq for run in runs if run.passed and run.commit_dirty is False), default=0
    )
    fresh = (run for run in runs if run.failed and run.seq > last_pass)
    return tuple(sorted(fresh, key=lambda run: run.seq))


def _refuse(gate: str, why: str, helps: str) -> NoReturn:
    raise GateError(f"{gate} can't start: {why}: {helps}")
