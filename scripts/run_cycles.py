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
"""Start and stop a system ten times, ask every service in each interval, look for what is left.

Writes <output-dir>/<YYYYMMDD-HHMMSS>/ with gate1-summary-<time>.json, execution_log.jsonl (a
line for each check), report.html, logs, a manifest and its signature. The first failure stops
it, with a diagnosis. `run_gate.py gate1` runs the same and records it in the ledger.

exit codes: 0 passed; 1 failed; 2 inconclusive; 64 bad arguments; 78 bad configuration;
130 interrupted.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from common.cli import make_parser, positive_float, positive_int, run
from common.options import add_run_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from evidence.recorder import Recorder
    from stack.model import Stack
    from stack.runtime import Runtime

EVIDENCE = "cycles"
STEPS = ("prepare", "cycles")
CYCLES, INTERVALS, INTERVAL_SECONDS = 10, 36, 5.0
EXAMPLES = (
    "python scripts/run_cycles.py --cycles 2 --intervals 4 --interval-seconds 0.5",
    "python scripts/run_cycles.py --runtime compose",
    "python scripts/run_gate.py gate1",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line (G1)."""
    parser = make_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "--cycles",
        type=positive_int,
        default=CYCLES,
        metavar="N",
        help=f"starts and stops (default: {CYCLES})",
    )
    add(
        "--intervals",
        type=positive_int,
        default=INTERVALS,
        metavar="N",
        help=f"health checks of each service in a cycle (default: {INTERVALS})",
    )
    add(
        "--interval-seconds",
        type=positive_float,
        default=INTERVAL_SECONDS,
        metavar="S",
        help=f"between two of them (default: {INTERVAL_SECONDS:g})",
    )
    add_run_options(parser)
    return parser.parse_args(argv)


def reservations(options: argparse.Namespace, _stack: Stack) -> list[str]:
    """Why a run with these arguments is real, but can't count for a release (G7)."""
    whole = CYCLES * INTERVALS
    intervals = options.cycles * options.intervals
    reasons = {
        f"shortened: {options.cycles} cycles, expected {CYCLES}": options.cycles < CYCLES,
        f"shortened: {intervals} intervals, expected {whole}": intervals < whole,
        f"accelerated: {options.interval_seconds:g} s between checks, expected "
        f"{INTERVAL_SECONDS:g}": options.interval_seconds < INTERVAL_SECONDS,
    }
    return [reason for reason, holds in reasons.items() if holds]


def measure(options: argparse.Namespace, runtime: Runtime, recorder: Recorder) -> None:
    """Prepare once, then go through the cycles; figures are kept however it ends."""
    from gating.cycles import Cycles, Plan
    from gating.frame import no_fault_of_the_system

    plan = Plan(options.cycles, options.intervals, options.interval_seconds)
    with recorder.step("prepare") as step:
        with no_fault_of_the_system(recorder, step):
            runtime.prepare()
        metadata = runtime.metadata()
        recorder.folder.write_json("container_metadata.json", metadata)
        step.detail = str(metadata["summary"])
    cycles = Cycles(plan, runtime, recorder.folder, recorder.trace.add)
    try:
        with recorder.step("cycles") as step:
            cycles.run(lambda problem: recorder.fail(step, problem))
            step.detail = cycles.summary_line()
    finally:
        recorder.facts["measured"][EVIDENCE] = cycles.figures()
        recorder.facts["services"] = cycles.services
        recorder.facts["left_over"] = cycles.left_lines()
        recorder.reservations = [*recorder.reservations, *cycles.reservations()]
        cycles.write_log()
    for line in cycles.bounds():
        recorder.print(f"      {line}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, judge by gate 1, seal; outside of the ledger."""
    from gating.frame import run_standalone

    return run_standalone("gate1", sys.modules[__name__], argv, __file__)


if __name__ == "__main__":
    run(main)
