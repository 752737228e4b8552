"""Containers of our own tasks: labelled with their process, removed when it is gone.

A process that is killed removes nothing; what its container holds (the index's user and
password among it) would stay for ever.
"""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stack.compose.engine import Engine

TASK_LABEL = "io.proof-pack.task"
PROCESS_LABEL = "io.proof-pack.pid"
HOST_LABEL = "io.proof-pack.host"


def task_labels(task: str) -> dict[str, str]:
    """The labels of a container that this process makes for `task`."""
    return {
        TASK_LABEL: task,
        PROCESS_LABEL: str(os.getpid()),
        HOST_LABEL: platform.node(),
    }


def remove_orphans(engine: Engine) -> None:
    """Remove the containers of killed processes of this machine.

    Several machines may share an engine, and only this one knows its own processes.
    """
    import psutil
    from docker.errors import NotFound

    labels = [TASK_LABEL, f"{HOST_LABEL}={platform.node()}"]
    # One request: the SDK's own list asks for each container, and waits for busy ones.
    for container in engine.api.containers(all=True, filters={"label": labels}):
        process = container["Labels"].get(PROCESS_LABEL, "")
        if not (process.isascii() and process.isdecimal()) or psutil.pid_exists(int(process)):
            continue
        try:
            engine.api.remove_container(container["Id"], force=True, v=True)
        except NotFound:  # another run was quicker
            continue
