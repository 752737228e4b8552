"""Failures that were sealed but not recorded: who kills a run after its verdict gains nothing."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from evidence.judging import FAILED
from gating.ledger_runs import ENDED, STARTED, gate_runs, process_lives

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from evidence.public_key import PublicKey
    from gating.ledger import Ledger
    from gating.ledger_chain import Entry
    from gating.ledger_runs import LoggedRun


class _EndedError(ScriptError):
    """Somebody else has recorded the end meanwhile."""


def record_sealed_failures(
    ledger: Ledger,
    output_dir: Path,
    key: PublicKey,
    is_alive: Callable[[int, str], bool] = process_lives,
) -> list[str]:
    """Append the end of each run without one whose sealed bundle says that it failed.

    A pass is not taken over: a run that was killed is run again.

    Args:
        ledger: where.
        output_dir: the folder of the run folders.
        key: what their bundles have to be signed with.
        is_alive: whether the process of this pid and birth still lives.

    Returns:
        The ids of these runs.

    Raises:
        LedgerError: the ledger is not what the key has signed, or can't be written.
    """
    entries = ledger.entries()
    found = []
    for run in gate_runs(entries):
        if run.rehearsal or not run.open or is_alive(run.pid, run.birth):
            continue
        fields = _failure(entries, run, output_dir / run.run_id, key)
        if fields is None:
            continue
        try:
            ledger.append_if(functools.partial(_check_open, run), ENDED, **fields)
        except _EndedError:
            continue
        found.append(run.run_id)
    return found


def _check_open(run: LoggedRun, entries: Sequence[Entry]) -> None:
    if not any(item.open and item.run_id == run.run_id for item in gate_runs(entries, run.gate)):
        raise _EndedError("ended")


def _failure(
    entries: Sequence[Entry], run: LoggedRun, bundle: Path, key: PublicKey
) -> dict[str, Any] | None:
    """The end of a run by its bundle; None where there is none that is authentic and failed."""
    if not os.path.lexists(bundle):
        return None
    from common.hashing import sha256_file
    from evidence.manifest import MANIFEST
    from evidence.verify import Wanted, verify_bundle

    result = verify_bundle(bundle, key, Wanted(run_id=run.run_id))
    claims = result.claims
    if not result.authentic or claims is None or claims.verdict != FAILED:
        return None
    if (claims.contract_sha256, claims.stack_sha256) != (run.contract_sha256, run.stack_sha256):
        return None
    start = next(
        entry.fields
        for entry in entries
        if entry.entry == STARTED
        and (entry.fields["gate"], entry.fields["run_id"]) == (run.gate, run.run_id)
    )
    kept = {name: start[name] for name in start if name not in {"requires", "pid", "birth"}}
    sealed = {"verdict": FAILED, "reservations": [], "recorded": "after the run was killed"}
    return kept | sealed | {"manifest_sha256": sha256_file(bundle / MANIFEST)}
