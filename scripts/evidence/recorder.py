"""Record a run: its steps as they happen, its figures, its verdict, its sealed bundle."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from common import log
from common.cli import Exit, ScriptError
from evidence import criteria
from evidence.envelope import utc_text
from evidence.judging import wanted
from evidence.redact import Redactor, environment
from evidence.run_folder import ArtifactError, RunFolder
from evidence.trace import Trace
from stack.runtime import EXTERNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from evidence.keys import SigningKey

NOT_REACHED = "not reached"
LOG_LINES = 100


class StopRun(Exception):  # noqa: N818 - it stops a run in good order, it is no error
    """A step failed: go on with stopping the system and sealing what was measured."""


@dataclass
class Step:
    """One printed step. `system` steps are time of the system under proof, not ours."""

    number: int
    name: str
    exit_code: int = Exit.FAILED
    system: bool = False
    outcome: str = criteria.SKIPPED
    started_seconds: float = 0.0
    duration_seconds: float = 0.0
    detail: str = NOT_REACHED
    error: str | None = None

    @property
    def reached(self) -> bool:
        """Whether the step was begun."""
        return self.detail != NOT_REACHED

    def as_json(self) -> dict[str, Any]:
        """The entry of the summary's `steps`."""
        value = dict(vars(self))
        del value["exit_code"], value["system"]
        rounded = {key: round(value[key], 6) for key in ("started_seconds", "duration_seconds")}
        return value | rounded


@dataclass
class Recorder:
    """Everything that one run measures, in one run folder.

    Args:
        gate: the name of the criteria file in scripts/gates/.
        summary_name: the JSON file that the criteria judge.
        envelope: what was known before the start.
        steps: all steps in order, so that one not reached is still listed.
        key: signs the bundle.
        reservations: reasons why this run can't count for a release, such as "shortened".
        rehearsal: the criteria that ask for the whole length are not judged.
        parts: what of `measured` this run has, where it is not all of the gate's.
        manifest_name: a list of the evidence files with their digests, beside them (G8).
        cut_short: trouble of our own ended it: what was measured until then judges nobody.
        judged: the verdict, once it is known; None until then.
        on_failure: called once, at the first failure that is noted with `fail`.
        on_sealed: called once the bundle is there; what it does can't change the verdict.
        sealed: the summary as it was sealed; None until then.
        typed: the command as it was given, to be shown and never sealed: it has whole paths.
        shared: what one script of a gate leaves for the next; never sealed.
        to_stderr: print steps there, because stdout is for JSON.
    """

    gate: str
    summary_name: str
    envelope: Mapping[str, Any]
    steps: Sequence[Step]
    key: SigningKey
    folder: RunFolder
    to_stderr: bool = False
    reservations: Sequence[str] = ()
    rehearsal: bool = False
    parts: Sequence[str] | None = None
    manifest_name: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    interrupted: bool = False
    cut_short: bool = False
    error: str | None = None
    judged: str | None = None
    on_failure: Callable[[], object] = lambda: None
    on_sealed: Callable[[], object] = lambda: None
    sealed: Mapping[str, Any] | None = None
    typed: Sequence[str] = ()
    shared: dict[str, Any] = field(default_factory=dict)
    _started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _begun: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Open the trace."""
        runtime = str(self.envelope["runtime"])
        rehearsal, parts = self.rehearsal, self.parts
        self.criteria = criteria.load_criteria(self.gate, runtime, rehearsal=rehearsal, parts=parts)
        self._not_judged = criteria.unseen(self.gate, runtime, rehearsal=rehearsal, parts=parts)
        self.trace = Trace(self.folder)
        self.trace.add("run started", run_id=self.folder.run_id, **self.envelope)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Run one step: print it, time it, and turn expected trouble into its outcome.

        Raises:
            StopRun: the step failed; its error is in the summary.
            KeyboardInterrupt: passed on, after it was noted.
        """
        step = next(item for item in self.steps if item.name == name)
        step.started_seconds = self.elapsed()
        step.detail = ""
        self.trace.add("step started", step=step.name)
        try:
            yield step
            if step.outcome == criteria.SKIPPED:
                step.outcome = criteria.PASSED
        except ArtifactError:
            step.outcome = criteria.FAILED
            raise
        except ScriptError as problem:
            step.outcome, step.error = criteria.FAILED, str(problem)
            self.judged = criteria.FAILED
            raise StopRun from problem
        except KeyboardInterrupt:
            if step.outcome != criteria.FAILED:
                step.outcome, step.error = criteria.INCONCLUSIVE, "interrupted"
            self.interrupted = True
            raise
        finally:
            step.duration_seconds = self.elapsed() - step.started_seconds
            self._print_step(step)
            with contextlib.suppress(ArtifactError):
                self.trace.add("step ended", **step.as_json())

    def fail(self, step: Step, error: str) -> None:
        """Note a failure at once: whatever ends the run from here on, it has failed."""
        step.outcome, step.error = criteria.FAILED, step.error or error
        if self.judged != criteria.FAILED:
            self.judged = criteria.FAILED
            self.on_failure()

    def elapsed(self) -> float:
        """Seconds since the run started."""
        return time.monotonic() - self._begun

    def judge_step(self, step: Step) -> None:
        """Fail a step on the criteria of its exit code that the facts so far do not meet.

        What is not measured yet is judged at the end.
        """
        mine = [item for item in self.criteria if item.exit_code == step.exit_code]
        for found in criteria.judge(mine, {**self.envelope, **self.facts}):
            if found.outcome == criteria.FAILED and not step.error:
                rule = found.criterion
                expected = wanted(rule.rule, rule.expected, rule.unit)
                step.outcome = criteria.FAILED
                step.error = f"{step.detail}: {rule.id}: expected {expected}, got {found.observed}"

    def print_not_reached(self) -> None:
        """A line for each step that was not begun, so that every step is accounted for."""
        for step in self.steps[:-1]:
            if not step.reached:
                self._print_step(step)

    def print(self, line: str) -> None:
        """One line of the result; redacted, because it may end in somebody's CI log."""
        log.result(self.folder.redactor.text(line), to_stderr=self.to_stderr)

    def _print_step(self, step: Step) -> None:
        said = step.error or step.detail
        head = f"[{step.number}/{len(self.steps)}] {step.name:20} {step.outcome:12}"
        self.print(f"{head} {step.duration_seconds:7.2f} s  {said}".rstrip())

    def write_logs(self, logs: Mapping[str, Path | None]) -> int:
        """Write the last 100 lines of each service's log (P7); how many there were.

        Redacted before they are cut: half a secret would not be recognised.
        """
        known = {name: path for name, path in logs.items() if path is not None}
        for name, path in known.items():
            self.folder.copy_log(f"{name}_logs.txt", path, LOG_LINES)
        return len(known)

    def seal(self, step: Step) -> tuple[Path, dict[str, Any]]:
        """Judge, write the summary, report and JUnit file, and seal the bundle.

        Args:
            step: the last one, which is going on; the summary has it up to its own writing.

        Returns:
            The sealed run folder and the summary.

        Raises:
            ArtifactError: it could not be written; nothing that verifies is left.
        """
        from common.schema import check_value
        from evidence.junit import junit_xml
        from evidence.report import render
        from evidence.seal import seal

        try:
            step.outcome = step.outcome if step.error else criteria.PASSED
            step.duration_seconds = self.elapsed() - step.started_seconds
            summary = self._summary()
            check_value(summary, str(summary["schema"]).partition("/")[0], self.summary_name)
            self.folder.write_json(self.summary_name, summary)
            clean = self.folder.redactor.value(summary)
            assert isinstance(clean, dict)  # noqa: S101 - a mapping stays one
            self.folder.write_text("report.html", render(clean))
            self.folder.write_bytes("junit.xml", junit_xml(clean))
            self._write_manifest()
            path = seal(self.folder, summary=clean, summary_name=self.summary_name, key=self.key)
            self.sealed = clean
        except BaseException:
            self.folder.discard()
            raise
        self.on_sealed()
        return path, clean

    def _write_manifest(self) -> None:
        """The evidence so far as `sha256sum --check` reads it; the bundle's own has this too."""
        if self.manifest_name:
            from evidence.manifest import build

            self.folder.write_bytes(self.manifest_name, build(self.folder.evidence))

    def _summary(self) -> dict[str, Any]:
        """The whole summary; the trace ends with the verdict, so that its head covers it."""
        facts: dict[str, Any] = {**self.envelope, "services": [], **self.facts}
        judgements = criteria.judge(self.criteria, facts)
        verdict = self.judged = self._verdict(judgements)
        code = self._exit_code(verdict, judgements)
        self.trace.add("verdict", verdict=verdict, exit_code=code)
        self.trace.close()
        reasons = self._not_eligible(verdict)
        return {
            **facts,
            "run_id": self.folder.run_id,
            "started_utc": utc_text(self._started),
            # Not read from the clock again: set back meanwhile, it would end before it began.
            "ended_utc": utc_text(self._started + timedelta(seconds=self.elapsed())),
            "duration_seconds": round(self.elapsed(), 6),
            "system_seconds": round(sum(s.duration_seconds for s in self.steps if s.system), 6),
            "environment": environment(),
            "verdict": verdict,
            "exit_code": code,
            "interrupted": self.interrupted,
            "eligible": {"value": not reasons, "reasons": reasons},
            "error": self.error or next((step.error for step in self.steps if step.error), None),
            "criteria": [item.as_json() for item in judgements],
            "steps": [step.as_json() for step in self.steps],
            "trace": {"head": self.trace.head, "count": self.trace.count},
            "key": {
                "kind": self.key.kind,
                "keyid": self.key.keyid,
                "algorithm": self.key.public.algorithm,
                "public_key_file": self.key.public_key_file,
            },
        }

    def _verdict(self, judgements: Sequence[criteria.Judgement]) -> str:
        if any(step.outcome == criteria.FAILED for step in self.steps):
            return criteria.FAILED
        if self.interrupted or self.cut_short:
            # Counts that our own end left short say nothing about the system.
            return criteria.INCONCLUSIVE
        verdict = criteria.verdict_of(judgements)
        unfinished = not all(step.reached for step in self.steps) or self.interrupted
        return criteria.INCONCLUSIVE if unfinished and verdict == criteria.PASSED else verdict

    def _exit_code(self, verdict: str, judgements: Sequence[criteria.Judgement]) -> int:
        if self.interrupted:
            return Exit.INTERRUPTED
        if verdict == criteria.PASSED:
            return Exit.PASSED
        for step in self.steps:
            if step.outcome == criteria.FAILED:
                return int(step.exit_code)
        for outcome in (criteria.FAILED, criteria.INCONCLUSIVE):
            for item in judgements:
                if item.outcome == outcome and item.criterion.exit_code:
                    return item.criterion.exit_code
        return Exit.FAILED if verdict == criteria.FAILED else Exit.INCONCLUSIVE

    def _not_eligible(self, verdict: str) -> list[str]:
        commit, kit = self.envelope["commit"], self.envelope["kit_commit"]
        reasons = {
            f"the verdict is {verdict}": verdict != criteria.PASSED,
            "the run was interrupted": self.interrupted,
            "self-signed key": self.key.kind == "self-signed",
            "no commit is known (no git checkout of its own, or git can't read it)": (
                commit["sha"] is None
            ),
            "the working tree has changes": commit["dirty"] is True,
            "whether the working tree has changes is not known": commit["dirty"] is None,
            "Proof Pack itself is no clean checkout": kit["dirty"] is not False,
            "somebody else started the system": self.envelope["runtime"] == EXTERNAL,
            f"not judged: {', '.join(self._not_judged)}": bool(self._not_judged),
        }
        return [*(reason for reason, holds in reasons.items() if holds), *self.reservations]


def open_folder(output_dir: Path, secrets: Sequence[str]) -> RunFolder:
    """A new run folder whose redactor knows the run's secrets.

    Raises:
        ArtifactError: the output folder can't be written.
    """
    return RunFolder.create(output_dir, datetime.now(UTC), Redactor(secrets))
