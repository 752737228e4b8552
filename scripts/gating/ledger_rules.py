"""The rules of gates (G7) on the entries of a ledger: pure functions, one clear line each.

- A gate starts only after the one it requires has passed: in full, on this commit and
  runtime, with this contract, stack and Proof Pack, and has not failed since.
- After a failure: a root cause and a fix commit, which the failed run's commit did not
  contain and the rerun's commit does.
- After two failures since the last pass: a remediation newer than the latest of them.
- A run whose process still lives keeps another run of the same gate out.
- Rehearsals may run at any time, and count as nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from common.cli import ScriptError
from gating.commands import script_command
from gating.ledger_passes import Subject, why_not_passed
from gating.ledger_runs import REMEDIATE, LoggedRun, gate_runs, process_lives, short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gating.ledger_chain import Entry

FAILURES_TO_REMEDIATE = 2


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
    runtime: str | None = None,
    kit_commit: Mapping[str, object] | None = None,
    arguments: str = "",
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
        runtime: that the run would start the system with; not compared by default.
        kit_commit: `sha` and `dirty` of the Proof Pack itself; not compared by default.
        arguments: that the advised command needs, of `run_arguments`.

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
    now = _clean(gate, requires, commit, ("the commit", "the working tree", "on this very commit"))
    kit = ("the commit of the Proof Pack", "the Proof Pack", "with this very one")
    kit_sha = None if kit_commit is None else _clean(gate, requires, kit_commit, kit)
    subject = Subject(now, contract_sha256, stack_sha256, runtime, kit_sha, arguments)
    reason = why_not_passed(entries, requires, subject, stack_name)
    if reason:
        _refuse(gate, *reason)


def _clean(
    gate: str, requires: str, commit: Mapping[str, object], words: tuple[str, str, str]
) -> str:
    """The commit that something is exactly."""
    sha, (name, tree, very) = commit.get("sha"), words
    if not isinstance(sha, str) or commit.get("dirty") is not False:
        what = f"{tree} has changes" if isinstance(sha, str) else f"{name} is not known"
        why = f"{what}, and {requires} has to have passed {very}"
        _refuse(gate, why, "commit what has changed, or add --rehearse")
    return sha


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
        answer = ("--root-cause", "TEXT", "--fix-commit", "SHA")
        command = f"`{script_command('ledger', 'resolve', run.run_id, *answer)}`"
        if not isinstance(fix, str):
            why = f"its run {run.run_id} failed on commit {run.where}"
            _refuse(gate, why, f"resolve it first: {command}")
        if run not in fresh:
            continue
        if wrong := why_no_fix(run, fix, is_ancestor):
            _refuse(gate, wrong, f"commit the fix, then resolve it again: {command}")
        if commit_sha is None or not is_ancestor(fix, commit_sha):
            why = f"commit {short(commit_sha)} lacks {short(fix)}, the fix of run {run.run_id}"
            _refuse(gate, why, f"check out a commit that contains {fix}")


def why_no_fix(run: LoggedRun, fix: str, is_ancestor: Callable[[str, str], bool]) -> str | None:
    """Why a commit can't be the fix of a failed run; None where it can.

    What the failed run contained has not kept it from failing. Of a run whose commit is
    not known, or is no commit of this checkout any more, that can't be told.
    """
    failed = run.commit_sha
    if failed is None or (fix != failed and not is_ancestor(fix, failed)):
        return None
    what = "is" if fix == failed else "was already part of"
    return f"{short(fix)}, given as the fix of run {run.run_id}, {what} the commit that failed"


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
        answer = ("--examined", "TEXT", "--changes", "TEXT", "--by", "NAME")
        why = f"it has failed {len(failures)} times since it passed"
        command = script_command("ledger", "remediate", newest.run_id, *answer)
        _refuse(gate, why, f"remediate it first: `{command}`")


def failures_since_pass(runs: Sequence[LoggedRun]) -> tuple[LoggedRun, ...]:
    """The failed runs of one gate since its last pass that counts, oldest first."""
    last_pass = max((run.seq for run in runs if run.passed and run.doubt is None), default=0)
    fresh = (run for run in runs if run.failed and run.seq > last_pass)
    return tuple(sorted(fresh, key=lambda run: run.seq))


def _refuse(gate: str, why: str, helps: str) -> NoReturn:
    raise GateError(f"{gate} can't start: {why}: {helps}")
