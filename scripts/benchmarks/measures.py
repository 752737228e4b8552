"""What is measured on the process runtime and on bundles: one function each."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.comparison import Benchmark, in_turn, seconds
from common.cli import ScriptError
from common.folders import ROOT

if TYPE_CHECKING:
    import argparse

SCRIPTS = ROOT / "scripts"
STACK = ROOT / "compose/reference/stack.yaml"
HELP_SECONDS = 0.15
SMOKE_SECONDS = 2.0
START_RATIO, SEAL_RATIO = 1.3, 1.0


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
    from benchmarks.floor import bare_start_stop
    from stack.load import load_stack
    from stack.process import create

    stack = load_stack(STACK, {})
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
    from benchmarks.sample import SHAPES, measure_bundle

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
    from benchmarks.floor import submission_rates
    from stack.load import load_stack
    from stack.process import create

    runtime = create(load_stack(STACK, {}))
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
