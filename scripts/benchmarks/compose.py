"""Up and down through the Compose runtime against the bare `docker compose` commands."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks.comparison import Benchmark, in_turn
from benchmarks.measures import STACK
from common.cli import ScriptError
from stack.compose.leftovers import things_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from stack.compose.command import Compose
    from stack.compose.runtime import ComposeRuntime

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

        with floor_project(runtime) as bare:
            pairs = in_turn(options.rounds, ours, lambda: bare_up_down(bare))
    finally:
        runtime.stop()
        runtime.close()
    what = (
        "up, health from outside, listeners, logs, down, look for what is left; "
        "floor: docker compose up --wait, down -v"
    )
    return [Benchmark("compose-up-down", what, "seconds", pairs, goal_ratio=COMPOSE_RATIO)]


@contextlib.contextmanager
def floor_project(runtime: ComposeRuntime) -> Iterator[Compose]:
    """The same file as another project, in a record of its own: a sweep finds it too."""
    from stack.records import new_record

    record = new_record(runtime.stack.file, runtime.name)
    record.project = f"{runtime.project}-floor"
    record.engine = runtime.engine.endpoint.as_variables()
    record.save()
    try:
        yield replace(runtime.compose, project=record.project)
    finally:
        shutil.rmtree(record.state, ignore_errors=True)
        if not things_of(runtime.engine, record.project):
            record.remove()


def bare_up_down(compose: Compose) -> float:
    """Seconds that Compose takes alone; nothing is looked at and no log is kept."""
    begun = time.perf_counter()
    try:
        compose.run("up", "-d", "--wait", "--no-build", seconds=_MOST_SECONDS)
    finally:
        compose.run("down", "-v", seconds=_MOST_SECONDS)
    return time.perf_counter() - begun
