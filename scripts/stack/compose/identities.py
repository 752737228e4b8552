"""Which container each service of a project is, and when it was started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stack.compose.containers import inspect, list_project
from stack.identity import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stack.compose.engine import Engine


def identities_of(engine: Engine, project: str, names: Mapping[str, str]) -> dict[str, Identity]:
    """The containers of a project as identities.

    Args:
        engine: the engine.
        project: the Compose project.
        names: service of the stack file to Compose service.

    Raises:
        ScriptError: the engine is gone.
    """
    listed = {item.service: item for item in list_project(engine, project)}
    return {name: _identity(engine, listed[key].id) for name, key in names.items() if key in listed}


def _identity(engine: Engine, container: str) -> Identity:
    value = inspect(engine, container)
    state, restarts = value["State"], int(value.get("RestartCount") or 0)
    running = state.get("Running") and not state.get("Restarting")
    key = f"{container[:12]}@{state.get('StartedAt', '')}" if running else ""
    return Identity(key, None, container, restarts)
