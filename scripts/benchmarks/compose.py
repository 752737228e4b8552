"""Up and down through the Compose runtime against the bare `docker compose` commands."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.comparison import Benchmark, in_turn
from benchmarks.measures import STACK
from common.cli import ScriptError

if TYPE_CHECKING:
    import argparse

    from stack.compose.command import Compose

COMPOSE_RATIO = 1.1
_MOST_SECONDS = 300.0


def measure_compose(options: argparse.Namespace) -> list[Benchmark]:
    """The reference system in containers, up and down, in turn with the bare commands."""
    from stack.compose import create
    from stack.load import load_stack

    runtime = create(load_stack(STACK, {}))
    try:
        runtime.prepare()

        def ours() -> float:
            begun = time.perf_counter()
            runtime.start()
            left = runtime.stop()
            if left:
                raise ScriptError(f"the runtime left something: {left[0]}")
            return time.perf_counter() - begun

        bare = replace(runtime.compose, project=f"{runtime.project}-floor")
        pairs = in_turn(options.rounds, ours, lambda: bare_up_down(bare))
    finally:
        runtime.stop()
        runtime.close()
    what = (
        "up, health from outside, listeners, logs, down, look for what is left; "
        "floor: docker compose up --wait, down -v"
    )
    return [Benchmark("compose-up-down", what, "seconds", pairs, goal_ratio=COMPOSE_RATIO)]


def bare_up_down(compose: Compose) -> float:
    """Seconds that Compose takes alone; nothing is looked at and no log is kept."""
    begun = time.perf_counter()
    try:
        compose.run("up", "-d", "--wait", "--no-build", seconds=_MOST_SECONDS)
    finally:
        compose.run("down", "-v", seconds=_MOST_SECONDS)
    return time.perf_counter() - begun
