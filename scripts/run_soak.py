# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "aiohttp",
#     "cryptography",
#     "docker",
#     "filelock",
#     "jinja2",
#     "jsonschema",
#     "packaging",
#     "platformdirs",
#     "psutil",
#     "py-spy",
#     "pyyaml",
#     "requests",
#     "rfc8785",
#     "rich",
#     "securesystemslib",
#     "urllib3",
# ]
# ///
"""Soak a system: the traffic of its stack file for 48 hours, watched each second.

Writes <output-dir>/<YYYYMMDD-HHMMSS>/ with gate2-summary-<time>.json, soak/ (a file each
minute, every request's sample, error texts), report.html with curves, logs, a manifest and
its signature. The first failure stops it, with stacks, logs and the last requests. A soak
whose harness was killed goes on with --resume RUN, and says what was not observed; only the
longest unbroken span counts. `run_gate.py gate2` runs the same and records it in the ledger.

exit codes: 0 passed; 1 failed; 2 inconclusive; 64 bad arguments; 78 bad configuration;
130 interrupted.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from common.cli import make_parser, positive_float, run
from common.options import add_run_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from evidence.recorder import Recorder
    from stack.model import Stack
    from stack.runtime import Runtime

EVIDENCE = "soak"
STEPS = ("start services", "soak", "soak figures")
EXAMPLES = (
    "python scripts/run_soak.py --duration 20m",
    "python scripts/run_soak.py --duration 48h --speed 24 --runtime compose",
    "python scripts/run_soak.py --resume 20261121-130000",
    "python scripts/run_soak.py --engine locust --workers 2 --master-host 0.0.0.0",
    "python scripts/run_gate.py gate2",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line (G2)."""
    import argparse

    from soak.duration import FULL_SECONDS, duration
    from traffic.engines import add_engine_options

    parser = make_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add(
        "--duration",
        type=duration,
        default=FULL_SECONDS,
        metavar="TIME",
        help="traffic of this time, such as 20m, 90s, 7d (default: 48h)",
    )
    add(
        "--speed",
        type=positive_float,
        default=1.0,
        metavar="N",
        help="send it N times as fast, in a time N times shorter (default: 1)",
    )
    add("--resume", metavar="RUN", help="go on with the soak of that run id")
    add_engine_options(parser)
    add(
        "--live",
        action=argparse.BooleanOptionalAction,
        help="a table that renews itself (default: where stderr is a terminal)",
    )
    add_run_options(parser)
    return parser.parse_args(argv)


def reservations(options: argparse.Namespace, stack: Stack) -> list[str]:
    """Why a run with these arguments is real, but can't count for a release (G7).

    Raises:
        ConfigurationError: it can't run at all: said before anything is started or recorded.
    """
    from soak.duration import FULL_SECONDS, duration_text
    from soak.refusals import check_can_run

    check_can_run(options, stack)
    asked = duration_text(options.duration)
    reasons = {
        f"shortened: {asked}, expected {duration_text(FULL_SECONDS)}": (
            options.duration < FULL_SECONDS
        ),
        f"accelerated: {asked} of traffic {options.speed:g} times as fast": options.speed != 1,
    }
    return [reason for reason, holds in reasons.items() if holds]


def measure(options: argparse.Namespace, runtime: Runtime, recorder: Recorder) -> None:
    """Start the system, soak it, compute; figures are kept however it ends."""
    from gating.frame import no_fault_of_the_system
    from soak.measuring import RecordedSoak
    from stack.health import check_services

    # First what may be refused: nothing is started for a soak that can't be resumed.
    soak = RecordedSoak(options, runtime, recorder)
    try:
        with recorder.step("start services") as step:
            with no_fault_of_the_system(recorder, step):
                runtime.prepare()
            metadata = runtime.metadata()
            recorder.folder.write_json("container_metadata.json", metadata)
            started = runtime.start()
            recorder.facts["services"] = check_services(runtime, started)
            step.detail = f"{len(started)} services ready"
        with recorder.step("soak") as step:
            soak.run(step)
    finally:
        soak.finish(EVIDENCE, STEPS[-1])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, judge by gate 2, seal; outside of the ledger."""
    from gating.frame import run_standalone

    return run_standalone("gate2", sys.modules[__name__], argv, __file__)


if __name__ == "__main__":
    run(main)
