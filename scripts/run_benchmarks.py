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
"""Measure our own overhead against the bare floor, in turn and in one run.

Writes benchmarks.json (schemas/benchmarks.schema.json). A goal that is not met is said
and exits 1, a benchmark that could not be measured exits 2. `ratio` is the median over
rounds of ours/floor, so that it holds on a machine whose speed drifts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.compose import measure_compose
from benchmarks.cycle import measure_cycle
from benchmarks.measures import (
    measure_help,
    measure_seal,
    measure_smoke,
    measure_start,
    measure_submissions,
)
from benchmarks.secret_scan import measure_secret_scan
from common import log
from common.cli import ConfigurationError, Exit, UsageError, make_parser, positive_int, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from benchmarks.comparison import Benchmark

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = (
    "python scripts/run_benchmarks.py",
    "python scripts/run_benchmarks.py --only help seal-files --rounds 9",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--rounds", type=positive_int, default=5, help="pairs of each benchmark (default: 5)")
    add("--only", nargs="+", metavar="NAME", help=f"some of: {', '.join(BENCHMARKS)}")
    add("--quick", action="store_true", help="a tenth of the files and bytes: for a first look")
    add("--output", type=Path, default=ROOT / "benchmarks.json", help="default: benchmarks.json")
    options = parser.parse_args(argv)
    for name in options.only or ():
        if name not in BENCHMARKS:
            raise UsageError(f"--only: expected some of {', '.join(BENCHMARKS)}, got {name!r}")
    return options


def main(argv: Sequence[str] | None = None) -> Exit:
    """Run the benchmarks; exit 1 where a goal is missed."""
    options = parse(argv)
    import json
    from datetime import UTC, datetime

    from common.schema import check_value
    from evidence.envelope import commit_of, host_facts, utc_text

    results, left_out = measure_all(options)
    document = {
        "schema": "benchmarks/1",
        "time_utc": utc_text(datetime.now(UTC)),
        "commit": commit_of(ROOT),
        "host": host_facts(),
        "quick": options.quick,
        "benchmarks": results,
        "not_measured": left_out,
    }
    check_value(document, "benchmarks", str(options.output))
    options.output.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    print(f"wrote {options.output}")
    if not all(row["met"] for row in results):
        return Exit.FAILED
    return Exit.INCONCLUSIVE if left_out or not results else Exit.PASSED


def measure_all(
    options: argparse.Namespace,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Every wanted benchmark; what this machine lacks the means for is left out, and said."""
    results, left_out = [], []
    for name, measure in BENCHMARKS.items():
        if options.only and name not in options.only:
            continue
        log.say(f"measuring {name}")
        try:
            found = [benchmark.as_json() for benchmark in measure(options)]
        except ConfigurationError as problem:
            log.warn(f"{name} is not measured: {problem}")
            left_out.append({"name": name, "reason": str(problem)})
            continue
        results += found
        for row in found:
            print(describe(row), flush=True)
    return results, left_out


def describe(row: dict[str, Any]) -> str:
    """One result for people."""
    floor = f", floor {row['floor']['median']:.4g}" if row["floor"] else ""
    ratio = f", ratio {row['ratio']:.2f}" if row["ratio"] else ""
    met = "met" if row["met"] else "MISSED"
    return (
        f"{row['name']:28} {row['ours']['median']:.4g} {row['unit']}{floor}{ratio} "
        f"({row['goal']}: {met})"
    )


BENCHMARKS: dict[str, Callable[[argparse.Namespace], list[Benchmark]]] = {
    "help": measure_help,
    "start-stop": measure_start,
    "cycle": measure_cycle,
    "seal-files": lambda options: measure_seal(options, "seal-files"),
    "seal-bytes": lambda options: measure_seal(options, "seal-bytes"),
    "submissions": measure_submissions,
    "smoke-overhead": measure_smoke,
    "compose-up-down": measure_compose,
    "secret-scan": measure_secret_scan,
}


if __name__ == "__main__":
    run(main)
