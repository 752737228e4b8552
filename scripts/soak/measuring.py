"""A soak inside a recorded run: its folder, its piece, its figures in the evidence."""

# All of it is imported before the soak begins: in 48 hours the files may change.
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp  # noqa: F401 - the first requests would wait for it

from common.cli import uninterrupted
from evidence.criteria import FAILED, INCONCLUSIVE
from gating.frame import no_fault_of_the_system
from soak import clock
from soak.folder import COMPLETED, INTERRUPTED, STOPPED, SoakFolder, remove_ended
from soak.going_on import broken_span_of, prospect_of, resume_command
from soak.hard_stop import describe, stop_facts, write_evidence
from soak.header import Header
from soak.live import View
from soak.session import Session
from soak.summary import summarise
from traffic.engines import open_engine
from traffic.pieces import read_pieces
from traffic.target import target_of

if TYPE_CHECKING:
    import argparse

    from detectors.finding import Finding
    from evidence.recorder import Recorder, Step
    from soak.session import Ending
    from stack.runtime import Runtime
    from traffic.pieces import Piece as Journal


class RecordedSoak:
    """What `run_soak.py` does with a runtime and a recorder.

    Args:
        options: of the command line.
        runtime: not started yet.
        recorder: of the run.

    Raises:
        ConfigurationError: the soak can't be resumed.
    """

    def __init__(self, options: argparse.Namespace, runtime: Runtime, recorder: Recorder) -> None:
        """See the class."""
        self._options, self._runtime, self._recorder = options, runtime, recorder
        remove_ended(options.output_dir)
        self._header = self._wanted()
        self._folder: SoakFolder | None = None
        if options.resume:
            self._folder = SoakFolder.resume(options.output_dir, options.resume, self._header)
            self._header = self._folder.header
            recorder.print(f"goes on with {self._header.run_id}: {self._prospect(self._folder)}")
        self._session: Session | None = None
        self._kept = self._failed = False
        self._hard_stop: dict[str, Any] | None = None

    def _wanted(self) -> Header:
        envelope, options = self._recorder.envelope, self._options
        return Header(
            run_id=self._recorder.folder.run_id,
            stack=envelope["stack"]["name"],
            stack_sha256=envelope["stack"]["sha256"],
            contract_sha256=envelope["contract_sha256"],
            commit_sha=envelope["commit"]["sha"],
            commit_dirty=envelope["commit"]["dirty"],
            runtime=self._runtime.name,
            seconds=options.duration / options.speed,
            speed=options.speed,
            engine=options.engine,
        )

    def run(self, step: Step) -> None:
        """Run a piece; the step says how it ended.

        Raises:
            KeyboardInterrupt: it was interrupted; what was observed is kept.
            StopRun: our own trouble, such as a worker that never came: nothing is judged by it.
        """
        self._step = step
        with no_fault_of_the_system(self._recorder, step):
            ending = self._run()
        self._say(step, ending)

    def _run(self) -> Ending:
        earlier = self._earlier()
        clean = self._recorder.folder.redactor.text
        target, stack = target_of(self._runtime, clean), self._runtime.stack
        with (
            # Entered first: it may wait for workers, and the soak begins when all are there.
            open_engine(self._options, stack, target, self._recorder.print) as engine,
            View(live=self._options.live) as view,
        ):
            if self._folder is None:
                moment = clock.now()
                where, typed = self._options.output_dir, self._recorder.typed
                self._folder = SoakFolder.create(where, self._header, moment, typed)
            self._session = Session(
                self._folder, self._runtime, earlier, engine, on_failure=self._gather_evidence
            )
            return self._session.run(target, view)

    def _earlier(self) -> list[Journal]:
        """The journals of earlier pieces; one that was killed ends where its last sample does."""
        if self._folder is None:
            return []
        journals = read_pieces(self._folder.path)
        self._folder.settle(
            {journal.header.piece: max(journal.done_seconds, default=0.0) for journal in journals}
        )
        return journals

    def _say(self, step: Step, ending: Ending) -> None:
        collector = self._session.collector if self._session else None
        sent, errors = (collector.sent, collector.errors) if collector else (0, 0)
        step.detail = f"{sent:,} requests sent, {errors:,} errors"
        if ending.kind == STOPPED:
            step.outcome, step.error = FAILED, f"stopped: {describe(ending.failed)}"
        if ending.kind == INTERRUPTED:
            step.outcome = INCONCLUSIVE
            raise KeyboardInterrupt
        if ending.kind == COMPLETED and self._folder and (why := broken_span_of(self._folder)):
            step.outcome, step.error = INCONCLUSIVE, why

    def _gather_evidence(self, session: Session, failed: list[Finding]) -> None:
        """While the system still runs: stacks, logs, the last requests."""
        # First of all: whatever ends this run from here on, it has failed.
        self._recorder.fail(self._step, f"stopped: {describe(failed)}")
        collector = session.collector
        said = write_evidence(
            self._recorder.folder, self._runtime, session.identities, failed, collector
        )
        self._hard_stop = stop_facts(failed, session.piece.now(), said)
        self._recorder.trace.add("soak stopped", why=self._hard_stop["why"])

    def finish(self, evidence: str, name: str) -> None:
        """Figures and files into the run folder; the soak's own folder stays if it can go on."""
        if self._folder is None or self._session is None:
            self._leave_nothing()
            return
        with uninterrupted():
            try:
                with (
                    self._recorder.step(name) as step,
                    no_fault_of_the_system(self._recorder, step),
                ):
                    figures = self._figures()
                    self._recorder.facts["measured"][evidence] = figures
                    self._note_failure(figures)
                    self._recorder.facts["latency"] = _latencies(figures)
                    files = self._copy_files()
                    self._kept = True
                    step.detail = f"{files} files, {figures['minutes']['written']} minutes"
                for line in bound_lines(figures):
                    self._recorder.print(f"      {line}")
            finally:
                self._leave()

    def _note_failure(self, figures: dict[str, Any]) -> None:
        """What a detector found stays found, however the soak ended."""
        failed = [item for item in figures["findings"] if item["outcome"] == FAILED]
        self._failed = bool(failed)
        if failed and self._step.outcome != FAILED:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            self._recorder.fail(self._step, f"{failed[0]['subject']}: {failed[0]['detail']}{more}")

    def _figures(self) -> dict[str, Any]:
        assert self._folder is not None  # noqa: S101 - asked after `run` only
        assert self._session is not None  # noqa: S101
        return summarise(self._folder, self._session, self._hard_stop)

    def _copy_files(self) -> int:
        """Everything of the soak into the bundle; texts of errors are redacted again."""
        assert self._folder is not None  # noqa: S101 - asked after `run` only
        files = self._folder.files()
        for name, path in files:
            target = f"soak/{name}"
            if name.endswith(".jsonl"):
                self._recorder.folder.write_text(target, path.read_text("utf-8", "replace"))
            else:
                self._recorder.folder.write_bytes(target, path.read_bytes())
        return len(files)

    @staticmethod
    def _prospect(folder: SoakFolder) -> str:
        return prospect_of(folder.pieces(), folder.header.seconds)

    def _leave_nothing(self) -> None:
        """It ended before it began; a soak that is gone on with stays as it was."""
        if self._folder and self._options.resume:
            self._folder.close()
        elif self._folder:
            self._folder.discard()

    def _leave(self) -> None:
        assert self._folder is not None  # noqa: S101 - asked after `run` only
        assert self._session is not None  # noqa: S101
        ended = self._failed or self._session.ending.kind in {COMPLETED, STOPPED}
        if ended and self._kept and self._session.closed:
            self._folder.mark_ended(self._recorder.folder.run_id)
            # Where nothing is sealed it stays; whoever starts next looks again.
            self._recorder.on_sealed = lambda: remove_ended(self._options.output_dir)
        elif not self._failed and self._session.ending.kind != STOPPED:
            command = resume_command(self._recorder.typed, self._header.run_id)
            self._recorder.print(f"      go on with: {command}")
            self._recorder.print(f"      {self._prospect(self._folder)}")
        self._folder.close()


def bound_lines(figures: dict[str, Any]) -> list[str]:
    """What the soak shows about the next one, for people; nothing where something failed."""
    lines: list[str] = []
    bounds = figures["bounds"]
    if figures["detectors"]["failed"] != 0:
        return lines
    if (ratio := bounds["error_ratio_below"]) is not None:
        errors, ended = figures["requests"]["errors"], figures["requests"]["ended"]
        lines.append(
            f"{errors} errors in {ended:,} requests: the ratio is below {ratio:.3%} (95 %)"
        )
    if (hours := bounds["hours_between_restarts_above"]) is not None:
        span = figures["longest_span_seconds"] / 3600
        lines.append(f"no restart in {span:.3g} h: more than {hours:.3g} h between two (95 %)")
    return lines


def _latencies(figures: dict[str, Any]) -> dict[str, Any]:
    """The summary's `latency`: a profile without samples is not in it."""
    rows = {name: row["latency"] for name, row in figures["profiles"].items()}
    return {name: row for name, row in rows.items() if row}
