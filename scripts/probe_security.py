# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "cryptography",
#     "docker",
#     "filelock",
#     "google-re2",
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
part (auth_results.json, …), what the system says of its controls (sandbox_report.json, …),
security_self_test.json, report.html, logs, a manifest and its signature. On the process
runtime each control is switched off in turn first: a case that gets through then, and not
otherwise, is worth something. `run_gate.py gate3` runs the same.

exit codes: 0 passed; 1 failed; 2 inconclusive; 64 bad arguments; 78 bad configuration;
130 interrupted.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from common.cli import UsageError, make_parser, run
from common.options import add_run_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from evidence.recorder import Recorder
    from stack.model import Stack
    from stack.runtime import Runtime

EVIDENCE = "security"
STEPS = ("read the corpora", "self-test", "start", "attacks", "reports", "logs")
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


def reservations(options: argparse.Namespace, stack: Stack) -> list[str]:
    """Why a run with these arguments is real, but can't count for a release (G7).

    Raises:
        ConfigurationError: a corpus is broken: said before anything starts.
        UsageError: no case is left.
    """
    from security.measuring import chosen_cases

    chosen_cases(options, stack)
    chosen = [*options.family, *options.control, *options.case]
    reasons = {
        f"shortened: only {', '.join(chosen)}": bool(chosen),
        "shortened: only the self-test": options.self_test,
        "shortened: no self-test": options.no_self_test,
    }
    return [reason for reason, holds in reasons.items() if holds]


def measure(options: argparse.Namespace, runtime: Runtime, recorder: Recorder) -> None:
    """Self-test, attacks, logs; figures are kept however it ends."""
    from security.measuring import Measured, chosen_cases, open_eyes, search_logs, start
    from security.probe import Probe
    from security.reports import ask_all

    with recorder.step("read the corpora") as step:
        cases = chosen_cases(options, runtime.stack)
        security = runtime.stack.security
        assert security is not None  # noqa: S101 - the corpora are named there
        probed = Measured(runtime, security, cases, recorder)
        recorder.facts["measured"][EVIDENCE] = probed.facts
        probed.facts["instruments"] = open_eyes(step)
        step.detail = f"{len(cases)} cases of {len({case.family for case in cases})} families"
    with recorder.step("self-test") as step:
        probed.switch_off(options, step)
    if options.self_test:
        return
    with recorder.step("start") as step:
        start(runtime, recorder, step)
    with Probe(runtime, security) as probe:
        with recorder.step("attacks") as step:
            probed.attack(step, probe)
        with recorder.step("reports") as step:
            probed.facts["reports"] = ask_all(probe, recorder, step)
        with recorder.step("logs") as step:
            found = search_logs(runtime, probe, recorder, step, EVIDENCE)
            probed.facts["known_values"] = found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, judge by gate 3, seal; outside of the ledger."""
    from gating.frame import run_standalone

    return run_standalone("gate3", sys.modules[__name__], argv, __file__)


if __name__ == "__main__":
    run(main)
