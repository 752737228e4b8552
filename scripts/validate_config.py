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
"""Validate a stack's configuration: variables, secrets, modes, CORS, TLS, Compose, rest (K1).

`validate` starts nothing and writes nothing but its answer; with --running it also looks at
the system that run_stack.py runs now. `checks` lists what there is. No output holds a secret's
value. Findings may be waived, each with a reason and an end (docs/configuration.md).

exit codes: 0 passed; 1 failed; 2 nothing could be checked; 64 bad arguments;
78 bad configuration.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import Exit, UsageError, make_parser, run
from common.options import add_run_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from configuration.live import Live
    from configuration.model import Result, Subject
    from configuration.waivers import Waiver
    from evidence.recorder import Recorder
    from stack.model import Stack
    from stack.runtime import Runtime

EVIDENCE = "configuration"
STEPS = ("validate configuration",)
EXAMPLES = (
    "python scripts/validate_config.py validate",
    "python scripts/validate_config.py validate --stack my/stack.yaml --env-file .env --json",
    "python scripts/validate_config.py validate --running",
    "python scripts/validate_config.py checks",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line (K1)."""
    parser = make_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("command", nargs="?", choices=("validate", "checks"), default="validate")
    add(
        "--env-file",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="variables beside the exported ones; may be given several times",
    )
    add("--state", type=Path, metavar="DIR", help="a state folder to look into as well")
    add("--running", action="store_true", help="look at the system that run_stack.py runs now")
    add(
        "--waivers",
        type=Path,
        metavar="FILE",
        help="default: configuration_waivers.yaml beside the stack file, where there is one",
    )
    add_run_options(parser)
    return parser.parse_args(argv)


def reservations(options: argparse.Namespace, _stack: Stack) -> list[str]:
    """Why a run with these arguments can't count for a release (G7)."""
    named = [path.name for path in options.env_file]
    return [f"with variables of {', '.join(named)}"] if named else []


def look(options: argparse.Namespace, *, runtime: str | None, live: Live | None) -> Subject:
    """Bring together what is looked at.

    Raises:
        ConfigurationError: a file can't be read.
    """
    from configuration.gather import gather

    state = options.state or (live.state if live else None)
    if options.state and not options.state.is_dir():
        raise UsageError(f"--state: expected a folder, got {options.state}")
    return gather(
        options.stack,
        environ=os.environ,
        env_files=options.env_file,
        runtime=runtime,
        state=state,
        live=live,
    )


def waivers_of(options: argparse.Namespace) -> tuple[Waiver, ...]:
    """The waivers that were named, or those beside the stack file.

    Raises:
        ConfigurationError: the file is missing or broken.
    """
    from configuration.waivers import WAIVERS_FILE, read_waivers

    beside = options.stack.parent / WAIVERS_FILE
    if options.waivers or beside.is_file():
        return read_waivers(options.waivers or beside)
    return ()


def measure(options: argparse.Namespace, runtime: Runtime, recorder: Recorder) -> None:
    """Start the system, look at its configuration and at itself, stop it (K1, G3d)."""
    with recorder.step(STEPS[0]) as step:
        runtime.prepare()
        runtime.start()
        results, figures = measure_running(options, runtime)
        recorder.facts["measured"][EVIDENCE] = figures
        if figures["waived"]:
            said = f"{figures['waived']} findings of the configuration are waived"
            recorder.reservations = [*recorder.reservations, said]
        for line in lines_of(results, only_problems=True):
            recorder.print(f"      {line}")
        step.detail = summary_line(figures)
        left = runtime.stop() or ()
        recorder.facts["left_over"] = [*recorder.facts.get("left_over", ()), *left]
        if failed := [item.check.name for item in results if item.outcome == "failed"]:
            recorder.fail(step, f"{step.detail}: {', '.join(failed)}")


def measure_running(
    options: argparse.Namespace, runtime: Runtime
) -> tuple[list[Result], dict[str, object]]:
    """The results and figures for a system that runs already; starts and stops nothing."""
    from configuration.live import of_runtime
    from configuration.validation import figures, run_checks

    name = runtime.name if runtime.name in runtime.stack.runtimes else None
    subject = look(options, runtime=name, live=of_runtime(runtime))
    results = run_checks(subject, waivers_of(options))
    return results, figures(results, subject)


def lines_of(results: Sequence[Result], *, only_problems: bool = False) -> list[str]:
    """What a person reads: a line for each check, and one below it for each finding."""
    lines = []
    for item in results:
        seen = sum(not row.unseen for row in item.rows)
        said = item.reason or f"{seen} looked at"
        if not only_problems or item.problems:
            lines.append(f"{item.outcome:8} {item.check.name:28} {said}")
        for row in item.problems:
            word = f"waived ({row.waived})" if row.waived else "-"
            lines.append(f"         {word} {row.place}: {row.problem}")
        told = not only_problems and item.outcome != "skipped"
        hidden = [row for row in item.rows if row.unseen and told]
        lines += [f"         not seen: {row.place}: {row.unseen}" for row in hidden]
    return lines


def summary_line(figures: dict[str, object]) -> str:
    """The counts in one line."""
    return (
        f"{figures['passed']} passed, {figures['failed']} failed, {figures['skipped']} skipped, "
        f"{figures['waived']} findings waived, {figures['looked_at']} things looked at"
    )


def main(argv: Sequence[str] | None = None) -> Exit:
    """Exit 0 when no check failed and at least one passed."""
    options = parse(argv)
    from configuration.live import of_running
    from configuration.registry import CHECKS
    from configuration.validation import EXITS, figures, run_checks, verdict_of
    from stack.load import load_stack

    if options.command == "checks":
        for check in CHECKS:
            print(f"{check.name:28} {check.requirement:4} {check.rule}")
        return Exit.PASSED
    runtime, live = options.runtime, None
    if options.running:
        live, runtime = of_running(load_stack(options.stack), os.environ)
    subject = look(options, runtime=runtime, live=live)
    results = run_checks(subject, waivers_of(options))
    found = figures(results, subject)
    verdict = verdict_of(results)
    if options.json:
        print(json.dumps({"verdict": verdict, **found}, indent=2))
    else:
        print("\n".join([*lines_of(results), f"{verdict.upper()}  {summary_line(found)}"]))
    return EXITS[verdict]


if __name__ == "__main__":
    run(main)
