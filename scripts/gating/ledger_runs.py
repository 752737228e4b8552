"""Runs of gates as the ledger tells them, and the fields that a run writes into it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evidence.judging import FAILED, PASSED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gating.ledger_chain import Entry

STARTED, ENDED, RESOLVE, REMEDIATE = "gate_started", "gate_ended", "resolve", "remediate"
CONTRACT = "contract"


@dataclass(frozen=True)
class LoggedRun:
    """One run of a gate.

    Args:
        seq: of its newest entry, the end where there is one.
        started_seq: of its oldest.
        verdict: None as long as no end is recorded.
        reservations: why it can't count for a release, such as "shortened: …".
        requires: the gate that had to pass before.
        kit_sha: the commit of the Proof Pack itself; None in old lines and without git.
        resolved: the newest `resolve` entry of a failed run.
    """

    gate: str
    run_id: str
    seq: int
    started_seq: int
    time_utc: str
    verdict: str | None
    rehearsal: bool
    reservations: tuple[str, ...]
    requires: str | None
    commit_sha: str | None
    commit_dirty: bool | None
    contract_sha256: str
    stack_name: str
    stack_sha256: str
    pid: int
    birth: str
    runtime: str | None = None
    kit_sha: str | None = None
    kit_dirty: bool | None = None
    resolved: Entry | None = None

    @property
    def failed(self) -> bool:
        """Whether it counts as a failure; a rehearsal never does, a shortened run does."""
        return self.verdict == FAILED and not self.rehearsal

    @property
    def passed(self) -> bool:
        """Whether it counts as a pass: in full, and no rehearsal."""
        return self.verdict == PASSED and not self.rehearsal and not self.reservations

    @property
    def doubt(self) -> str | None:
        """Why its pass can open no gate, whatever is asked; None where it may."""
        doubts = {
            "a rehearsal": self.rehearsal,
            next(iter(self.reservations), ""): bool(self.reservations),
        }
        found = next((why for why, holds in doubts.items() if holds), None)
        commit = {"sha": self.commit_sha, "dirty": self.commit_dirty}
        return found or tree_doubt(commit, {"sha": self.kit_sha, "dirty": self.kit_dirty})

    @property
    def open(self) -> bool:
        """Whether no end is recorded: it runs, or was abandoned."""
        return self.verdict is None

    @property
    def where(self) -> str:
        """Its commit as a message names it."""
        return short(self.commit_sha)


def tree_doubt(commit: Mapping[str, object], kit_commit: Mapping[str, object]) -> str | None:
    """Why a pass on these commits could open no gate: what was run can't be named by them."""
    doubts = {
        "no commit is known": commit.get("sha") is None,
        "the working tree had changes": commit.get("dirty") is not False,
        "the commit of the Proof Pack is not known": kit_commit.get("sha") is None,
        "the Proof Pack had changes": kit_commit.get("dirty") is not False,
    }
    return next((why for why, holds in doubts.items() if holds), None)


def short(sha: str | None) -> str:
    """A commit or hash in a message: seven digits are enough to find it."""
    return sha[:7] if sha else "an unknown commit"


def gate_runs(
    entries: Sequence[Entry], gate: str | None = None, stack_name: str | None = None
) -> tuple[LoggedRun, ...]:
    """The runs in the order of their starts.

    Args:
        entries: verified ones, all of them.
        gate: only its runs; all by default.
        stack_name: only runs of the stack of this name; all by default.
    """
    # The first start and end of a run are what happened; a cause may be understood better later.
    ends = {key: entry for entry in reversed(entries) if (key := _key(entry, ENDED))}
    starts = {key: entry for entry in reversed(entries) if (key := _key(entry, STARTED))}
    causes = {key: entry for entry in entries if (key := _key(entry, RESOLVE))}
    runs = [_run(starts.get(key), ends.get(key), causes.get(key)) for key in {**starts, **ends}]
    runs.sort(key=lambda run: run.started_seq)
    return tuple(
        run for run in runs if gate in {None, run.gate} and stack_name in {None, run.stack_name}
    )


def _key(entry: Entry, kind: str) -> tuple[str, str] | None:
    if entry.entry != kind:
        return None
    return str(entry.fields.get("gate")), str(entry.fields.get("run_id"))


def _run(start: Entry | None, end: Entry | None, cause: Entry | None) -> LoggedRun:
    """A run of its entries. What the end says goes before what was meant at the start."""
    newest = end or start
    assert newest is not None  # noqa: S101 - every key comes from one of the two
    begun = start.fields if start else {}
    fields: Mapping[str, Any] = {**begun, **newest.fields}
    commit, stack = fields.get("commit") or {}, fields.get("stack") or {}
    kit = fields.get("kit_commit") or {}
    return LoggedRun(
        gate=str(fields.get("gate")),
        run_id=str(fields.get("run_id")),
        seq=newest.seq,
        started_seq=(start or newest).seq,
        time_utc=newest.time_utc,
        verdict=str(end.fields.get("verdict")) if end else None,
        # A rehearsal at either end is one: what is not said is never the better case.
        rehearsal=not all(
            entry.fields.get("rehearsal") is False for entry in (start, end) if entry
        ),
        reservations=tuple(map(str, fields.get("reservations") or ())),
        requires=fields.get("requires"),
        commit_sha=commit.get("sha"),
        commit_dirty=commit.get("dirty"),
        contract_sha256=str(fields.get("contract_sha256")),
        stack_name=str(stack.get("name")),
        stack_sha256=str(stack.get("sha256")),
        pid=int(fields.get("pid") or 0),
        birth=str(fields.get("birth") or ""),
        runtime=fields.get("runtime"),
        kit_sha=kit.get("sha"),
        kit_dirty=kit.get("dirty"),
        resolved=cause if cause and cause.seq > newest.seq else None,
    )


def started_fields(
    gate: str,
    run_id: str,
    envelope: Mapping[str, Any],
    *,
    requires: str | None,
    rehearsal: bool,
    contract_version: int | None = None,
) -> dict[str, object]:
    """The fields of `gate_started`, with the identity of this process.

    Args:
        gate: its name.
        run_id: the name of its run folder.
        envelope: of the run's evidence (evidence/envelope.py).
        requires: the gate that had to pass before.
        rehearsal: whether it is one.
        contract_version: of the lock that was checked; None where none was.
    """
    from stack.records import birth

    pid = os.getpid()
    version = {} if contract_version is None else {"contract_version": contract_version}
    return {
        **_run_fields(gate, run_id, envelope, rehearsal=rehearsal),
        **version,
        "requires": requires,
        "pid": pid,
        "birth": birth(pid),
    }


def ended_fields(
    gate: str,
    run_id: str,
    envelope: Mapping[str, Any],
    *,
    rehearsal: bool,
    verdict: str,
    reservations: Sequence[str],
    manifest_sha256: str | None,
) -> dict[str, object]:
    """The fields of `gate_ended`.

    Args:
        gate: its name.
        run_id: the name of its run folder.
        envelope: of the run's evidence (evidence/envelope.py).
        rehearsal: whether it was one.
        verdict: passed, failed or inconclusive, as the sealed summary has it.
        reservations: why it can't count for a release; with one, a pass does not count.
        manifest_sha256: of the sealed bundle's manifest, so that no other bundle can take
            its place; None where no bundle could be written.
    """
    return {
        **_run_fields(gate, run_id, envelope, rehearsal=rehearsal),
        "verdict": verdict,
        "reservations": [*reservations],
        "manifest_sha256": manifest_sha256,
    }


def _run_fields(
    gate: str, run_id: str, envelope: Mapping[str, Any], *, rehearsal: bool
) -> dict[str, object]:
    return {
        "gate": gate,
        "run_id": run_id,
        "rehearsal": rehearsal,
        "runtime": envelope["runtime"],
        "commit": dict(envelope["commit"]),
        "kit_commit": dict(envelope["kit_commit"]),
        "contract_sha256": envelope["contract_sha256"],
        "stack": {key: envelope["stack"][key] for key in ("name", "sha256")},
    }


def process_lives(pid: int, birth: str) -> bool:
    """Whether the process that started a run still lives on this machine.

    One on another machine is not seen: its boot id is another one.
    """
    from stack.records import same_process

    return same_process(pid, birth) is not None
