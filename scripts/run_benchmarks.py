# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "cryptography",
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
"""Measure our own overhead against the bare floor, in turn and in one run.

Writes benchmarks.json (schemas/benchmarks.schema.json). A goal that is not met is said
and exits 1; `ratio` is the median over rounds of ours/floor, so that it holds on a
machine whose speed drifts.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import log
from common.cli import Exit, ScriptError, UsageError, make_parser, positive_int, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
HELP_SECONDS = 0.15
SMOKE_SECONDS = 2.0
START_RATIO, SEAL_RATIO = 1.3, 1.0
EXAMPLES = (
    "python scripts/run_benchmarks.py",
    "python scripts/run_benchmarks.py --only help seal-files --rounds 9",
)


@dataclass(frozen=True)
class Benchmark:
    """One comparison; `goal_ratio` or `goal_value` is the limit for the median."""

    name: str
    what: str
    unit: str
    pairs: Sequence[tuple[float, float | None]]
    goal_ratio: float | None = None
    goal_value: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry of benchmarks.json."""
        ours = [pair[0] for pair in self.pairs]
        floor = [pair[1] for pair in self.pairs if pair[1] is not None]
        ratios = [one / other for one, other in self.pairs if other]
        ratio = statistics.median(ratios) if ratios else None
        return {
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "rounds": len(self.pairs),
            "ours": figures(ours),
            "floor": figures(floor) if floor else None,
            "ratio": ratio and round(ratio, 4),
            "goal": self._goal(),
            "met": self._met(ratio, statistics.median(ours)),
        }

    def _goal(self) -> str:
        if self.goal_ratio is not None:
            return f"ratio at most {self.goal_ratio}"
        return f"below {self.goal_value} {self.unit}" if self.goal_value else "none stated"

    def _met(self, ratio: float | None, median: float) -> bool:
        if self.goal_ratio is not None:
            return ratio is not None and ratio <= self.goal_ratio
        return self.goal_value is None or median < self.goal_value


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

    results = []
    for name, measure in BENCHMARKS.items():
        if options.only and name not in options.only:
            continue
        log.say(f"measuring {name}")
        for benchmark in measure(options):
            row = benchmark.as_json()
            results.append(row)
            print(describe(row), flush=True)
    document = {
        "schema": "benchmarks/1",
        "time_utc": utc_text(datetime.now(UTC)),
        "commit": commit_of(ROOT),
        "host": host_facts(),
        "quick": options.quick,
        "benchmarks": results,
    }
    check_value(document, "benchmarks", str(options.output))
    options.output.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    print(f"wrote {options.output}")
    return Exit.PASSED if all(row["met"] for row in results) else Exit.FAILED


def describe(row: dict[str, Any]) -> str:
    """One result for people."""
    floor = f", floor {row['floor']['median']:.4g}" if row["floor"] else ""
    ratio = f", ratio {row['ratio']:.2f}" if row["ratio"] else ""
    met = "met" if row["met"] else "MISSED"
    return (
        f"{row['name']:28} {row['ours']['median']:.4g} {row['unit']}{floor}{ratio} "
        f"({row['goal']}: {met})"
    )


def figures(values: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    found = {
        "minimum": min(values),
        "median": statistics.median(values),
        "maximum": max(values),
    }
    return {name: round(value, 6) for name, value in found.items()}


def seconds(command: Sequence[str], **more: Any) -> float:  # noqa: ANN401 - passed to subprocess.run
    """Wall seconds of a whole process.

    Raises:
        ScriptError: it failed; a figure of a failed command says nothing.
    """
    # As users run Python: compiled modules are kept from one run to the next.
    environment = {**os.environ, **more.pop("env", {})}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begun = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, **more
    )
    elapsed = time.perf_counter() - begun
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise ScriptError(f"{' '.join(command)[:120]} exited {done.returncode}: {last[0]}")
    return elapsed


def in_turn(
    rounds: int, ours: Callable[[], float], floor: Callable[[], float]
) -> list[tuple[float, float | None]]:
    """Ours and the floor alternately, after one round that does not count."""
    pairs = [(ours(), floor()) for _ in range(rounds + 1)]
    return [*pairs[1:]]


def measure_help(options: argparse.Namespace) -> list[Benchmark]:
    """`--help` of every script against `python -c pass`."""
    found = []
    for script in sorted(SCRIPTS.glob("*.py")):
        pairs = in_turn(
            options.rounds,
            lambda script=script: seconds([sys.executable, str(script), "--help"]),  # type: ignore[misc]
            lambda: seconds([sys.executable, "-c", "pass"]),
        )
        what = f"{script.name} --help against python -c pass"
        found.append(
            Benchmark(f"help {script.stem}", what, "seconds", pairs, goal_value=HELP_SECONDS)
        )
    return found


def measure_start(options: argparse.Namespace) -> list[Benchmark]:
    """Start and stop through the runtime against the same processes and nothing else."""
    from stack.floor import bare_start_stop
    from stack.load import load_stack
    from stack.process import create

    stack = load_stack(ROOT / "compose/reference/stack.yaml", {})
    runtime = create(stack)
    try:
        runtime.prepare()

        def ours() -> float:
            begun = time.perf_counter()
            runtime.start()
            left = runtime.stop()
            if left:
                raise ScriptError(f"the runtime left something: {left[0]}")
            return time.perf_counter() - begun

        pairs = in_turn(options.rounds, ours, lambda: bare_start_stop(runtime))
    finally:
        runtime.stop()
        runtime.close()
    what = "start in dependency order, health, listener check, stop; floor: all at once, no checks"
    return [Benchmark("start-stop", what, "seconds", pairs, goal_ratio=START_RATIO)]


def measure_seal(options: argparse.Namespace, name: str) -> list[Benchmark]:
    """Seal and verify a bundle against sha256sum and sha256sum -c, as whole processes."""
    from evidence.sample import SHAPES, measure_bundle

    shape = SHAPES[name].scaled(0.1 if options.quick else 1)
    rounds = min(options.rounds, 3) if shape.is_large else options.rounds
    sealing, verifying = measure_bundle(shape, rounds, seconds)
    size = f"{shape.files} files of {shape.bytes_each} bytes"
    return [
        Benchmark(
            f"{name} seal",
            f"seal {size} (hash, sign, attest, sync, rename); floor: find -exec sha256sum",
            "seconds",
            sealing,
            goal_ratio=SEAL_RATIO,
        ),
        Benchmark(
            f"{name} verify",
            f"verify_evidence.py over {size}; floor: sha256sum -c",
            "seconds",
            verifying,
            goal_ratio=SEAL_RATIO,
        ),
    ]


def measure_submissions(options: argparse.Namespace) -> list[Benchmark]:
    """Submissions per second through the job board against a bare client loop."""
    from stack.floor import submission_rates
    from stack.load import load_stack
    from stack.process import create

    runtime = create(load_stack(ROOT / "compose/reference/stack.yaml", {}))
    try:
        runtime.prepare()
        runtime.start()
        pairs = submission_rates(runtime, options.rounds)
    finally:
        runtime.stop()
        runtime.close()
    what = "submissions a second, 8 at a time; floor: the same requests from a bare loop"
    return [Benchmark("submissions", what, "submissions/second", pairs)]


def measure_smoke(options: argparse.Namespace) -> list[Benchmark]:
    """A smoke run's own time: the whole process without the services and the jobs."""
    import json
    import tempfile

    script = str(SCRIPTS / "spinup_smoke.py")
    values: list[tuple[float, float | None]] = []
    for _ in range(options.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            whole = seconds([sys.executable, script, "--output-dir", folder])
            (path,) = Path(folder).glob("*/evidence/boot_transcript.json")
            values.append((whole - json.loads(path.read_text())["system_seconds"], None))
    what = "wall time of spinup_smoke.py less its phases that are the system's own"
    return [Benchmark("smoke-overhead", what, "seconds", values[1:], goal_value=SMOKE_SECONDS)]


BENCHMARKS: dict[str, Callable[[argparse.Namespace], list[Benchmark]]] = {
    "help": measure_help,
    "start-stop": measure_start,
    "seal-files": lambda options: measure_seal(options, "seal-files"),
    "seal-bytes": lambda options: measure_seal(options, "seal-bytes"),
    "submissions": measure_submissions,
    "smoke-overhead": measure_smoke,
}


if __name__ == "__main__":
    run(main)
