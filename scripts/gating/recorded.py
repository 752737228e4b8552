"""A gate's run in the ledger: asked before anything starts, recorded whatever happens (G7)."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from common.cli import Exit, uninterrupted
from common.hashing import sha256_file
from common.log import warn
from evidence.envelope import make_envelope
from evidence.judging import FAILED, INCONCLUSIVE
from evidence.manifest import MANIFEST
from evidence.session import run_recorded
from gating.commands import run_arguments
from gating.contract import check_contract, check_logged, lock_path_of, read_lock
from gating.frame import LAST_STEP, SCHEMA
from gating.git import is_ancestor
from gating.ledger_bundles import check_bundles_known
from gating.ledger_failures import record_sealed_failures
from gating.ledger_rules import check_may_start
from gating.ledger_runs import ENDED, STARTED, ended_fields, started_fields, tree_doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evidence.keys import SigningKey
    from evidence.recorder import Recorder
    from gating.frame import GateRun
    from gating.ledger import Entry, Ledger
    from stack.model import Stack
    from stack.runtime import Runtime


def run_in_ledger(run: GateRun, ledger: Ledger, runtime: Runtime, key: SigningKey) -> int:
    """Run a gate between its two entries of the ledger.

    Returns:
        The exit code of the verdict.

    Raises:
        GateError: it may not start: nothing was started, and nothing is recorded.
        ConfigurationError: the contract was changed and has no new version.
        LedgerError: the ledger is not what the key has signed.
        ArtifactError: no evidence could be written; the ledger says that it is inconclusive.
    """
    version = None if run.rehearsal else _contract_version(runtime.stack)
    allowed = _rules(run, runtime.stack, runtime.name, version)

    def open_recorder() -> Recorder:
        if not run.rehearsal:
            check_bundles_known(ledger.entries(), run.options.output_dir, key.public)
        record_sealed_failures(ledger, run.options.output_dir, key.public)
        allowed(ledger.entries())  # before a folder is made
        if not run.rehearsal:
            _warn_of_doubt(run, runtime)
        recorder = run.open(runtime.stack, runtime, key)
        try:
            entry = ledger.append_if(allowed, STARTED, **_start(run, recorder, version))
            # Signed with the evidence, so that a ledger put back to before it is found out.
            recorder.facts["gate"]["ledger_sha256"] = entry.sha256
            # At once: who kills the run after this gains nothing.
            recorder.on_failure = lambda: ledger.append(ENDED, **_end(run, recorder))
        except BaseException:
            recorder.folder.discard()
            run.recorder = None
            raise
        return recorder

    try:
        return run_recorded(
            runtime,
            open_recorder,
            lambda recorder: run.work(runtime, recorder),
            last_step=LAST_STEP,
            not_written=Exit.INCONCLUSIVE,
            as_json=run.options.json,
        )
    finally:
        if run.recorder is not None:
            with uninterrupted():
                _record_end(run, run.recorder, ledger)


def _record_end(run: GateRun, recorder: Recorder, ledger: Ledger) -> None:
    """The end, unless a failure was recorded when it happened: the first end stands."""
    ended = any(
        entry.entry == ENDED and entry.fields.get("run_id") == recorder.folder.run_id
        for entry in ledger.entries()
    )
    if not ended:
        ledger.append(ENDED, **_end(run, recorder))


def _contract_version(stack: Stack) -> int:
    """The version under which the contract is locked as it is now."""
    lock_path = lock_path_of(stack)
    check_contract(stack, lock_path)
    return read_lock(lock_path).version


def _rules(
    run: GateRun, stack: Stack, runtime: str, version: int | None
) -> Callable[[Sequence[Entry]], None]:
    envelope: dict[str, Any] = make_envelope(SCHEMA, stack, runtime, run.command)

    def allowed(entries: Sequence[Entry]) -> None:
        if version is not None:
            check_logged(entries, stack.name, version, envelope["contract_sha256"])
        check_may_start(
            entries,
            run.gate.name,
            run.gate.requires,
            commit=envelope["commit"],
            contract_sha256=envelope["contract_sha256"],
            stack_sha256=envelope["stack"]["sha256"],
            rehearsal=run.rehearsal,
            is_ancestor=functools.partial(is_ancestor, stack.here),
            stack_name=stack.name,
            runtime=runtime,
            kit_commit=envelope["kit_commit"],
            arguments=_arguments(run, stack, runtime),
        )

    return allowed


def _warn_of_doubt(run: GateRun, runtime: Runtime) -> None:
    """Before the time is spent: a gate on a changed tree is real, and counts for nothing."""
    envelope = make_envelope(SCHEMA, runtime.stack, runtime.name, run.command)
    if why := tree_doubt(envelope["commit"], envelope["kit_commit"]):
        warn(f"{why}: a pass of {run.gate.name} will open no other gate: commit first")


def _arguments(run: GateRun, stack: Stack, runtime: str) -> str:
    options = run.options
    return run_arguments(
        stack,
        runtime,
        output_dir=options.output_dir,
        ledger=options.ledger,
        key=options.key,
        public_key=options.public_key,
    )


def _start(run: GateRun, recorder: Recorder, version: int | None) -> dict[str, object]:
    return started_fields(
        run.gate.name,
        recorder.folder.run_id,
        recorder.envelope,
        requires=run.gate.requires,
        rehearsal=run.rehearsal,
        contract_version=version,
    )


def _end(run: GateRun, recorder: Recorder) -> dict[str, object]:
    """What was sealed, and its digest. A failure stays one where nothing could be sealed."""
    sealed = recorder.sealed
    unsealed = FAILED if recorder.judged == FAILED else INCONCLUSIVE
    return ended_fields(
        run.gate.name,
        recorder.folder.run_id,
        recorder.envelope,
        rehearsal=run.rehearsal,
        verdict=str(sealed["verdict"]) if sealed else unsealed,
        reservations=recorder.reservations,
        manifest_sha256=sha256_file(recorder.folder.final / MANIFEST) if sealed else None,
    )
