# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "cryptography",
#     "docker",
#     "filelock",
#     "jinja2",
#     "jsonschema",
#     "packaging",
#     "platformdirs",
#     "psutil",
#     "pyyaml",
#     "requests",
#     "rfc8785",
#     "rich",
#     "securesystemslib",
#     "urllib3",
# ]
# ///
"""Attack a system with the corpora of its stack file, and look at what the attacks did.

Writes <output-dir>/<YYYYMMDD-HHMMSS>/ with gate3-summary-<time>.json, a results file for each
part (auth_results.json, …), security_self_test.json, report.html, logs, a manifest and its
signature. On the process runtime each control is switched off in turn first: a case that
gets through then, and not otherwise, is worth something. `run_gate.py gate3` runs the same.

exit codes: 0 passed; 1 failed; 2 inconclusive; 64 bad arguments; 78 bad configuration;
130 interrupted.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError, UsageError, make_parser, run
from common.options import add_run_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from evidence.recorder import Recorder, Step
    from security.model import Case, CaseResult, Security
    from security.self_test import Row
    from stack.model import Stack
    from stack.runtime import Runtime

EVIDENCE = "security"
STEPS = ("read the corpora", "self-test", "start", "attacks", "logs")
PROCESS = "process"
EXAMPLES = (
    "python scripts/probe_security.py",
    "python scripts/probe_security.py --no-self-test --family traversal",
    "python scripts/probe_security.py --self-test --control service-token-replay",
    "python scripts/run_gate.py gate3",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line (G3a-d)."""
    parser = make_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--family", action="append", default=[], metavar="NAME", help="only this one; repeatable")
    add("--control", action="append", default=[], metavar="ID", help="only its cases; repeatable")
    add("--case", action="append", default=[], metavar="ID", help="only this case; repeatable")
    add("--self-test", action="store_true", help="only switch the controls off, one by one")
    add("--no-self-test", action="store_true", help="only attack the system as it is")
    add_run_options(parser)
    options = parser.parse_args(argv)
    if options.self_test and options.no_self_test:
        raise UsageError("--self-test and --no-self-test exclude each other: give one of them")
    return options


def reservations(options: argparse.Namespace, _stack: Stack) -> list[str]:
    """Why a run with these arguments is real, but can't count for a release (G7)."""
    chosen = [*options.family, *options.control, *options.case]
    reasons = {
        f"shortened: only {', '.join(chosen)}": bool(chosen),
        "shortened: only the self-test": options.self_test,
        "shortened: no self-test": options.no_self_test,
    }
    return [reason for reason, holds in reasons.items() if holds]


def measure(options: argparse.Namespace, runtime: Runtime, recorder: Recorder) -> None:
    """Self-test, attacks, logs; figures are kept however it ends."""
    from security.model import Security

    with recorder.step("read the corpora") as step:
        cases = chosen_cases(options, runtime.stack)
        security = runtime.stack.security
        assert isinstance(security, Security)  # noqa: S101 - load_corpora has refused none
        step.detail = f"{len(cases)} cases of {len({case.family for case in cases})} families"
    facts: dict[str, Any] = {**empty_figures(cases), "instruments": check_eyes(runtime)}
    recorder.facts["measured"][EVIDENCE] = facts
    with recorder.step("self-test") as step:
        test_controls(options, runtime, security, cases, recorder, step, facts)
    if options.self_test:
        return
    with recorder.step("start") as step:
        runtime.prepare()
        recorder.folder.write_json("container_metadata.json", runtime.metadata())
        started = runtime.start()
        note_services(runtime, started, recorder)
        step.detail = f"{len(started)} services ready"
    attack(runtime, security, cases, recorder, facts)


def chosen_cases(options: argparse.Namespace, stack: Stack) -> list[Case]:
    """The cases that the arguments ask for.

    Raises:
        UsageError: none is left.
    """
    from security.corpus import load_corpora

    whole = load_corpora(stack)
    found = [
        case
        for case in whole
        if (not options.family or case.family in options.family)
        and (not options.control or case.control in options.control)
        and (not options.case or case.id in options.case)
    ]
    if not found:
        known = ", ".join(sorted({case.family for case in whole}))
        raise UsageError(f"no case is left of {len(whole)}: families are {known}")
    return found


def check_eyes(runtime: Runtime) -> list[str]:
    """The instruments that work here: what can't be seen proves nothing by not being seen."""
    import tempfile
    from pathlib import Path

    from security.instruments import check_instruments

    del runtime
    with tempfile.TemporaryDirectory() as folder:
        return check_instruments(Path(folder))


def empty_figures(cases: Sequence[Case]) -> dict[str, Any]:
    """Figures of nothing: what stays null was not measured."""
    from security.probe import figures

    unknown = dict.fromkeys(figures((), ()))
    return {
        **unknown,
        "cases_planned": len(cases),
        "self_test": None,
        "known_values": None,
        "findings": [],
    }


def test_controls(
    options: argparse.Namespace,
    runtime: Runtime,
    security: Security,
    cases: Sequence[Case],
    recorder: Recorder,
    step: Step,
    facts: dict[str, Any],
) -> None:
    """Each control off in turn, on a process runtime of its own; elsewhere said, not done."""
    if options.no_self_test or runtime.name != PROCESS:
        asked = "not asked for" if options.no_self_test else f"not on the runtime {runtime.name}"
        step.detail = f"{asked}: only the process runtime can switch a control off"
        return
    from security import self_test

    wanted = {case.control for case in cases}
    section = security if not options.control else _only(security, options.control)
    section = section if not (options.family or options.case) else _only(section, wanted)
    rows = switch_off(runtime, section, cases, recorder)
    facts["self_test"] = found = self_test.figures(rows)
    recorder.folder.write_json(
        "security_self_test.json", {"schema": "security_self_test/1", "rows": [r.as_json() for r in rows]}
    )
    step.detail = f"{len(rows)} controls switched off, {found['cases']} cases"
    blunt = [row.control for row in rows if not row.failing]
    idle = [name for row in rows for name in row.never_failing]
    if blunt or idle:
        first = f"no case fails without {blunt[0]}" if blunt else f"{idle[0]} never fails"
        recorder.fail(step, f"{len(blunt)} controls and {len(idle)} cases prove nothing: {first}")


def _only(security: Security, names: Sequence[str] | set[str]) -> Security:
    from dataclasses import replace

    kept = tuple(item for item in security.controls if item.id in names)
    return replace(security, controls=kept)


def switch_off(
    runtime: Runtime, security: Security, cases: Sequence[Case], recorder: Recorder
) -> list[Row]:
    """A row for each control."""
    from security.probe import Probe
    from security.self_test import SelfTest
    from stack.process import create

    # The same secrets, which the redactor knows.
    other = create(runtime.stack, {**os.environ, **runtime.secrets})
    try:
        other.prepare()

        def run_cases(mine: Sequence[Case]) -> Sequence[CaseResult]:
            with Probe(other, security) as probe:
                return probe.run(mine)

        def note(row: Row) -> None:
            recorder.trace.add(
                "control switched off",
                control=row.control,
                failing=len(row.failing),
                never_failing=list(row.never_failing),
                error=row.error,
            )

        return SelfTest(other, security, cases, run_cases, note).run()
    finally:
        other.stop()
        other.close()


def note_services(runtime: Runtime, started: Sequence[Any], recorder: Recorder) -> None:
    """The services of the summary."""
    from stack.health import check_services

    recorder.facts["services"] = check_services(runtime, started)


def attack(
    runtime: Runtime,
    security: Security,
    cases: Sequence[Case],
    recorder: Recorder,
    facts: dict[str, Any],
) -> None:
    """Every case, then the logs; a bypass fails the run at once, and the rest is still done."""
    from common.progress import Progress
    from security.probe import Probe, figures, findings

    results: list[CaseResult] = []
    try:
        with Probe(runtime, security) as probe:
            with recorder.step("attacks") as step, Progress("attacks", len(cases)) as bar:

                def note(result: CaseResult) -> None:
                    results.append(result)
                    bar.update(len(results))
                    recorder.trace.add("case", id=result.case.id, outcome=result.outcome)

                probe.run(cases, note)
                step.detail = summary_line(results)
                fail_on_bad(results, recorder, step)
            search_logs(runtime, probe.known_values(), recorder, facts)
    finally:
        facts |= figures(cases, results)
        facts["findings"] = findings(results)
        write_results(results, recorder)


def fail_on_bad(results: Sequence[CaseResult], recorder: Recorder, step: Step) -> None:
    """The first case that got through is the error of the step."""
    from security.model import BYPASSED, UNEXPECTED

    for item in results:
        if item.outcome in {BYPASSED, UNEXPECTED}:
            recorder.fail(step, f"{step.detail}; {item.case.id}: {item.outcome}: {item.got}")
            return


def summary_line(results: Sequence[CaseResult]) -> str:
    """One line for people."""
    from collections import Counter

    counts = Counter(item.outcome for item in results)
    return f"{len(results)} cases: " + ", ".join(f"{n} {name}" for name, n in counts.items())


def search_logs(
    runtime: Runtime, values: dict[str, str], recorder: Recorder, facts: dict[str, Any]
) -> None:
    """Stop the system, so that its logs are whole, and search them for what is known."""
    from security.known_values import search

    with recorder.step("logs") as step:
        left = runtime.stop()
        recorder.facts["left_over"] = [*recorder.facts.get("left_over", ()), *(left or ())]
        logs = {item.name: runtime.log_path(item.name) for item in runtime.services}
        found = search({**logs, **runtime.more_logs()}, values)
        if not found.logs:
            step.outcome, step.error = "inconclusive", "no log of any service can be seen"
            return
        facts["known_values"] = found.as_json()
        step.detail = f"{found.values} known values in {found.logs} logs: {len(found.found)} found"
        if found.found:
            recorder.fail(step, f"{step.detail}: {found.found[0]}")


def write_results(results: Sequence[CaseResult], recorder: Recorder) -> None:
    """A file for each part of the gate (G8): auth, policy, sandbox, interface."""
    from common.schema import check_value
    from security.probe import result_rows

    for name in sorted({item.case.evidence for item in results}):
        mine = [item for item in results if item.case.evidence == name]
        value = {"schema": "security_cases/1", "part": name, "cases": result_rows(mine)}
        check_value(value, "security_cases", f"{name}_results.json")
        recorder.folder.write_json(f"{name}_results.json", value)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, judge by gate 3, seal; outside of the ledger."""
    from gating.frame import run_standalone

    return run_standalone("gate3", sys.modules[__name__], argv, __file__)


if __name__ == "__main__":
    run(main)
