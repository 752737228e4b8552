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
"""Ask every operation of every service's OpenAPI document for what it takes and what it doesn't.

Writes <output-dir>/<YYYYMMDD-HHMMSS>/ with gate3-summary-<time>.json, fuzzing_results.json (a
row for each operation), report.html, logs, a manifest and its signature. No answer may be a
5xx, or hold a stack trace or a secret; every operation has to be reached, and to refuse who
has no token. A service without a document fails. `run_gate.py gate3` runs the same.

exit codes: 0 passed; 1 failed; 2 inconclusive; 64 bad arguments; 78 bad configuration;
130 interrupted.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError, make_parser, positive_int, run
from common.options import add_run_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from evidence.recorder import Recorder
    from security.probe import Probe
    from stack.model import Stack
    from stack.runtime import Runtime

EVIDENCE = "fuzzing"
STEPS = ("start for fuzzing", "fuzz", "logs of fuzzing")
REQUESTS, SEED = 60, 42
EXAMPLES = (
    "python scripts/fuzz_endpoints.py --requests 10",
    "python scripts/fuzz_endpoints.py --seed 7",
    "python scripts/run_gate.py gate3",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    help_text = f"to each operation (default: {REQUESTS})"
    add("--requests", type=positive_int, default=REQUESTS, metavar="N", help=help_text)
    help_text = f"the same one sends the same requests (default: {SEED})"
    add("--seed", type=positive_int, default=SEED, metavar="N", help=help_text)
    add_run_options(parser)
    return parser.parse_args(argv)


def reservations(options: argparse.Namespace, stack: Stack) -> list[str]:
    """Why a run with these arguments is real, but can't count for a release (G7).

    Raises:
        ConfigurationError: the stack file does not say how to fuzz it.
    """
    if stack.security is None:
        raise ConfigurationError(
            f"{stack.file}: expected the section security, got none: docs/security-probe.md"
        )
    if options.requests >= REQUESTS:
        return []
    return [f"shortened: {options.requests} requests an operation, expected {REQUESTS}"]


def measure(options: argparse.Namespace, runtime: Runtime, recorder: Recorder) -> None:
    """Start, fuzz, look into the logs; figures are kept however it ends."""
    from security.measuring import search_logs, start
    from security.probe import Probe

    security = runtime.stack.security
    assert security is not None  # noqa: S101 - `reservations` has refused none
    with recorder.step("start for fuzzing") as step:
        start(runtime, recorder, step)
    with Probe(runtime, security) as probe:
        with recorder.step("fuzz") as step:
            facts = fuzz(options, runtime, probe, recorder)
            step.detail = (
                f"{facts['requests']} requests to {facts['operations']} operations of "
                f"{facts['services']} services"
            )
            for row in facts["findings"]:
                if row["outcome"] == "failed":
                    recorder.fail(step, f"{step.detail}; {row['subject']}: {row['detail']}")
        with recorder.step("logs of fuzzing") as step:
            facts["known_values"] = search_logs(runtime, probe, recorder, step, EVIDENCE)


def fuzz(
    options: argparse.Namespace, runtime: Runtime, probe: Probe, recorder: Recorder
) -> dict[str, Any]:
    """All operations; the figures of the summary."""
    from common.progress import Progress
    from security.fuzz import Fuzzer
    from security.fuzz_rows import Row, figures

    rows: list[Row] = []
    fuzzer = Fuzzer(runtime.stack, probe.security, probe.speaker, probe.never, options.seed)
    with Progress("operations", sum(1 for _ in fuzzer.operations())) as bar:

        def note(row: Row) -> None:
            rows.append(row)
            bar.update(len(rows))
            recorder.trace.add("operation fuzzed", name=row.operation.name, requests=row.requests)

        try:
            fuzzer.run(options.requests, note)
        finally:
            facts = {**figures(rows), "seed": options.seed, "known_values": None}
            recorder.facts["measured"][EVIDENCE] = facts
            value = {"schema": "fuzzing_results/1", "operations": [row.as_json() for row in rows]}
            recorder.folder.write_json("fuzzing_results.json", value, "fuzzing_results")
    return facts


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, judge by gate 3, seal; outside of the ledger."""
    from gating.frame import run_standalone

    return run_standalone("gate3", sys.modules[__name__], argv, __file__)


if __name__ == "__main__":
    run(main)
