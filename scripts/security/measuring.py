"""The parts of a probe that is recorded: self-test, attacks, logs, results files."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError, UsageError
from common.progress import Progress
from evidence.recorder import StopRun
from security import self_test
from security.corpus import load_corpora
from security.instruments import check_instruments
from security.known_values import search
from security.model import BYPASSED, NOT_RUN, UNEXPECTED
from security.probe import Probe, figures, findings, result_rows
from security.secret_places import first_finding, look_at_answers, look_at_logs

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from evidence.recorder import Recorder, Step
    from security.model import Case, CaseResult, Security
    from security.self_test import Row
    from stack.model import Stack
    from stack.runtime import Runtime, Started

PROCESS = "process"


def chosen_cases(options: argparse.Namespace, stack: Stack) -> list[Case]:
    """The cases that the arguments ask for.

    Raises:
        UsageError: none is left, or a name that there is not.
    """
    whole = load_corpora(stack)
    for option, name in (("family", "family"), ("control", "control"), ("case", "id")):
        known = {getattr(case, name) for case in whole}
        if unknown := [text for text in getattr(options, option) if text not in known]:
            near = difflib.get_close_matches(unknown[0], known, 1)
            said = (
                f"did you mean {near[0]}?"
                if near
                else f"expected one of {', '.join(sorted(known))}"
            )
            raise UsageError(f"--{option}: there is no {unknown[0]!r}: {said}")
    found = [
        case
        for case in whole
        if (not options.family or case.family in options.family)
        and (not options.control or case.control in options.control)
        and (not options.case or case.id in options.case)
    ]
    if not found:
        raise UsageError(f"no case is left of {len(whole)}: the options have none in common")
    return found


def open_eyes(step: Step) -> list[str]:
    """The instruments that work here; without one of them nothing is measured.

    Raises:
        StopRun: what is not seen here would prove nothing.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            return check_instruments(Path(folder))
    except ScriptError as problem:
        step.outcome, step.error = "inconclusive", str(problem)
        raise StopRun from problem


def start(runtime: Runtime, recorder: Recorder, step: Step) -> None:
    """Prepare and start the system, and note what runs."""
    from stack.health import check_services

    runtime.prepare()
    recorder.folder.write_json("container_metadata.json", runtime.metadata())
    started: Sequence[Started] = runtime.start()
    recorder.facts["services"] = check_services(runtime, started)
    step.detail = f"{len(started)} services ready"


def search_logs(
    runtime: Runtime, probe: Probe, recorder: Recorder, step: Step, of: str
) -> dict[str, object] | None:
    """Stop the system, so that its logs are whole; search them for what is known (G3d).

    Logs and answers are searched by the rules of the secret scan as well, for `check_secrets`.
    """
    left = runtime.stop()
    recorder.facts["left_over"] = [*recorder.facts.get("left_over", ()), *(left or ())]
    logs = {item.name: runtime.log_path(item.name) for item in runtime.services}
    found = search({**logs, **runtime.more_logs()}, probe.known_values())
    looked = look_at_logs(recorder, runtime, of)
    looked += look_at_answers(recorder, runtime.stack, of, probe.speaker.answers)
    step.detail = f"{found.values} known values in {found.logs} logs: {len(found.found)} found"
    for where in (*found.found[:1], *filter(None, [first_finding(looked)])):
        recorder.fail(step, f"{step.detail}: {where}")
    if not found.unseen:
        return found.as_json()
    if not step.error:
        names = ", ".join(found.unseen)
        step.outcome, step.error = "inconclusive", f"the log of {names} can't be seen"
    return None


@dataclass
class Measured:
    """One probe: what it works on, and its figures so far (schemas/security.schema.json)."""

    runtime: Runtime
    security: Security
    cases: Sequence[Case]
    recorder: Recorder
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """What stays null was not measured."""
        self.facts |= dict.fromkeys(figures((), ()))
        self.facts |= {"cases_planned": len(self.cases), "self_test": None}
        self.facts |= {"known_values": None, "reports": None, "watched_unseen": None}
        self.facts |= {"findings": [], "instruments": []}

    def switch_off(self, options: argparse.Namespace, step: Step) -> None:
        """Each control off in turn, on a process runtime of its own; elsewhere said, not done."""
        if options.no_self_test:
            step.detail = "not asked for"
            return
        if self.runtime.name != PROCESS or not self.security.weakened:
            where = self.runtime.name
            step.detail = f"not on {where}: only the process runtime can switch a control off"
            if where == PROCESS:
                said = (
                    "expected security.weakened in the stack file: no control can be switched off"
                )
                step.outcome, step.error = "inconclusive", said
            return
        rows = self._rows(self._section(options))
        self.facts["self_test"] = found = self_test.figures(rows)
        value = {"schema": "security_self_test/2", "rows": [row.as_json() for row in rows]}
        self.recorder.folder.write_json("security_self_test.json", value, "security_self_test")
        step.detail = f"{len(rows)} controls switched off, {found['cases']} cases"
        blunt = [row for row in rows if not row.failing]
        idle = [name for row in rows for name in row.never_failing]
        if blunt or idle:
            said = f"{blunt[0].control}: {blunt[0].error or 'no case fails'}" if blunt else idle[0]
            counts = f"{len(blunt)} controls and {len(idle)} cases prove nothing"
            self.recorder.fail(step, f"{step.detail}; {counts}: {said}")

    def _section(self, options: argparse.Namespace) -> Security:
        """All controls; where cases were chosen, theirs."""
        if not (options.control or options.family or options.case):
            return self.security
        wanted = {case.control for case in self.cases}
        kept = tuple(item for item in self.security.controls if item.id in wanted)
        return replace(self.security, controls=kept)

    def _rows(self, security: Security) -> list[Row]:
        from stack.process import create

        # The same secrets, which the redactor knows.
        other = create(self.runtime.stack, {**os.environ, **self.runtime.secrets})
        try:
            other.prepare()

            def run_cases(mine: Sequence[Case]) -> Sequence[CaseResult]:
                with Probe(other, security) as probe:
                    return probe.run(mine)

            return self_test.SelfTest(other, security, self.cases, run_cases, self._note).run()
        finally:
            other.stop()
            other.close()

    def _note(self, row: Row) -> None:
        self.recorder.trace.add(
            "control switched off",
            control=row.control,
            failing=len(row.failing),
            never_failing=list(row.never_failing),
            error=row.error,
        )

    def attack(self, step: Step, probe: Probe) -> None:
        """Every case; a bypass fails the run at once, and the rest is still tried."""
        results: list[CaseResult] = []
        with Progress("attacks", len(self.cases)) as bar:

            def note(result: CaseResult) -> None:
                results.append(result)
                bar.update(len(results))
                self.recorder.trace.add("case", id=result.case.id, outcome=result.outcome)
                if result.outcome in {BYPASSED, UNEXPECTED}:
                    said = f"{result.case.id}: {result.outcome}: {result.got}"
                    self.recorder.fail(step, said)

            try:
                probe.run(self.cases, note)
            finally:
                self.facts |= figures(self.cases, results)
                self.facts["watched_unseen"] = len(probe.watched_unseen)
                self.facts["findings"] = findings(results)
                write_results(results, self.recorder)
        counts = Counter(item.outcome for item in results)
        said = ", ".join(f"{count} {name}" for name, count in counts.items())
        step.detail = f"{len(results)} cases: {said}"
        step.error = step.error and f"{step.detail}; {step.error}"
        if counts[NOT_RUN] and not step.error:
            first = next(item for item in results if item.outcome == NOT_RUN)
            step.outcome, step.error = (
                "inconclusive",
                f"{step.detail}; {first.case.id}: {first.got}",
            )


def write_results(results: Sequence[CaseResult], recorder: Recorder) -> None:
    """A file for each part of the gate (G8): auth, policy, sandbox, interface."""
    for name in sorted({item.case.evidence for item in results}):
        mine = [item for item in results if item.case.evidence == name]
        value = {"schema": "security_cases/1", "part": name, "cases": result_rows(mine)}
        recorder.folder.write_json(f"{name}_results.json", value, "security_cases")
