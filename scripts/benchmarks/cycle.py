"""A cycle of gate 1 against the same programs started, asked and ended with none of our care."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.comparison import Benchmark, in_turn
from benchmarks.measures import STACK

if TYPE_CHECKING:
    import argparse

    from stack.process import ProcessRuntime

# A cycle of the gate has the same 36 intervals, 5 s apart: there the ratio is nearer to 1.
INTERVALS, INTERVAL_SECONDS = 36, 0.2
CYCLE_RATIO = 1.05


def measure_cycle(options: argparse.Namespace) -> list[Benchmark]:
    """Start, 36 rounds of health checks, stop, compare; floor: no order, nothing compared."""
    from benchmarks.floor import bare_start_stop
    from stack.load import load_stack
    from stack.process import create

    runtime = create(load_stack(STACK, {}))
    try:
        runtime.prepare()
        with tempfile.TemporaryDirectory() as folder:
            pairs = in_turn(
                options.rounds,
                lambda: _one_cycle(runtime, Path(folder)),
                lambda: bare_start_stop(runtime, INTERVALS, INTERVAL_SECONDS),
            )
    finally:
        runtime.stop()
        runtime.close()
    what = (
        f"one cycle with {INTERVALS} intervals of {INTERVAL_SECONDS:g} s; floor: all at once, "
        "the same health checks, terminate"
    )
    return [Benchmark("cycle", what, "seconds", pairs, goal_ratio=CYCLE_RATIO)]


def _one_cycle(runtime: ProcessRuntime, folder: Path) -> float:
    from evidence.recorder import open_folder
    from evidence.trace import Trace
    from gating.cycles import Cycles, Plan

    run = open_folder(folder, [])
    trace = Trace(run)
    cycles = Cycles(Plan(1, INTERVALS, INTERVAL_SECONDS), runtime, run, trace.add)
    try:
        begun = time.perf_counter()
        cycles.run()
        return time.perf_counter() - begun
    finally:
        run.discard()
