"""Opens Compose runtimes on the fake system and holds the engine to nothing left."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from docker.errors import APIError

from common.cli import ScriptError
from fakes.compose import PYTHON_IMAGE, fake_values, write_compose_stack
from stack.compose import create
from stack.compose.engine import connect
from stack.compose.leftovers import Thing, things_of
from stack.compose.runtime import ComposeRuntime
from stack.load import load_stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["PYTHON_IMAGE", "Opened", "freeze", "left_of"]


class Opened:
    """Makes runtimes in a folder and closes them after the test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, list[ComposeRuntime]()

    def __call__(
        self,
        change: Callable[[dict[str, Any], dict[str, Any]], object] | None = None,
        environ: dict[str, str] | None = None,
        **faults: str,
    ) -> ComposeRuntime:
        """A runtime of the fake system; `change` edits the stack and the Compose value."""
        stack, compose = fake_values(**faults)
        if change:
            change(stack, compose)
        path = write_compose_stack(self.folder, stack, compose)
        runtime = create(load_stack(path, {}), {**os.environ, **(environ or {})})
        self.made.append(runtime)
        return runtime

    def close(self) -> None:
        """Stop and close everything."""
        for runtime in self.made:
            runtime.stop()
            runtime.close()


def freeze(pause: Callable[[], object]) -> None:
    """Pause a container; a busy cgroup v1 does not freeze at once (runc gives up, 2026-11-21)."""
    for _ in range(20):
        try:
            pause()
        except (APIError, ScriptError) as problem:
            if "unable to freeze" not in str(problem):
                raise
            time.sleep(0.5)
        else:
            return
    raise AssertionError("the container could not be frozen within 20 tries")


def left_of(project: str) -> list[Thing]:
    """What the engine still has of a project."""
    engine = connect(os.environ)
    try:
        return things_of(engine, project)
    finally:
        engine.close()
