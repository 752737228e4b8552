"""Passes of gates: which one stands for what wants to start, and why no other does (G7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evidence.judging import PASSED
from gating.commands import gate_command
from gating.ledger_runs import LoggedRun, gate_runs, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gating.ledger_chain import Entry


@dataclass(frozen=True)
class Subject:
    """What a pass has to be of.

    Args:
        commit_sha: of the system under proof, with nothing changed in the working tree.
        contract_sha256: of the stack file and the gate files.
        stack_sha256: of the stack file alone.
        runtime: how the system is started; any by default.
        kit_sha: the commit of the Proof Pack, unchanged as well; any by default.
        arguments: that the advised command needs, of `run_arguments`; no part of the comparison.
    """

    commit_sha: str
    contract_sha256: str
    stack_sha256: str
    runtime: str | None = None
    kit_sha: str | None = None
    arguments: str = ""

    def is_of(self, run: LoggedRun) -> bool:
        """Whether the run was of this."""
        return run.commit_sha == self.commit_sha and self.difference(run) is None

    def difference(self, run: LoggedRun) -> str | None:
        """What was another in a run on this commit; None where nothing was."""
        return self._changes(run) or self._others(run)

    def _changes(self, run: LoggedRun) -> str | None:
        if run.commit_dirty is not False:
            return f"without changes: run {run.run_id} had some in its working tree"
        if self.kit_sha is not None and run.kit_sha == self.kit_sha and run.kit_dirty is not False:
            return f"with this Proof Pack: expected no changes in it, got some in run {run.run_id}"
        return None

    def _others(self, run: LoggedRun) -> str | None:
        rows = (
            ("with this contract", self.contract_sha256, run.contract_sha256),
            ("with this stack file", self.stack_sha256, run.stack_sha256),
            ("with this Proof Pack", self.kit_sha, run.kit_sha),
        )
        for what, expected, got in rows:
            if expected is not None and got != expected:
                shown = f"expected {short(expected)}, got {short(got)}"
                return f"{what}: {shown} in run {run.run_id}"
        if self.runtime is not None and run.runtime != self.runtime:
            got = run.runtime or "an unknown one"
            return f"on this runtime: expected {self.runtime}, got {got} in run {run.run_id}"
        return None


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
        command = gate_command(wanted, subject.arguments)
        runs = gate_runs(entries, wanted, stack_name)
        passes = [run for run in runs if run.passed and subject.is_of(run)]
        if not passes:
            return _nearest(runs, wanted, subject), f"run `{command}`"
        last = max(passes, key=lambda run: run.seq)
        later = [run for run in runs if run.failed and run.seq > last.seq]
        if later:
            newest = max(later, key=lambda run: run.seq)
            why = f"{wanted} has failed since it passed (run {newest.run_id} on {newest.where})"
            return why, f"resolve it, then run `{command}`"
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
        return f"{here} {subject.difference(full[-1])}"
    if on_commit and on_commit[-1].rehearsal:
        return f"{here}: its rehearsal {on_commit[-1].run_id} does not count"
    if on_commit:
        run = on_commit[-1]
        return f"{here}: run {run.run_id} does not count ({run.reservations[0]})"
    return f"{here}: it passed on {counted[-1].where}" if counted else here
