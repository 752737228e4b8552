"""Everything in an engine that carries a project's label: found, named, removed."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stack.compose.containers import PROJECT_LABEL, ask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stack.compose.engine import Engine

_ANONYMOUS = re.compile(r"[0-9a-f]{64}")
_ROUNDS = 5
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class Thing:
    """A container, network or volume."""

    kind: str
    id: str
    name: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.kind} {self.name}"


def things_of(engine: Engine, project: str) -> list[Thing]:
    """Containers, networks and volumes of a project, in the order in which they can be removed.

    Raises:
        ScriptError: the engine is gone.
    """
    label = {"label": f"{PROJECT_LABEL}={project}"}
    containers = ask(lambda: engine.api.containers(all=True, filters=label))
    networks = ask(lambda: engine.api.networks(filters=label))
    volumes = ask(lambda: engine.api.volumes(filters=label)).get("Volumes") or ()
    return [
        *(Thing("container", row["Id"], row["Names"][0].lstrip("/")) for row in containers),
        *(Thing("network", row["Id"], row["Name"]) for row in networks),
        *(Thing("volume", row["Name"], row["Name"]) for row in volumes),
    ]


def anonymous_volumes(engine: Engine, project: str) -> set[str]:
    """Volumes without a name of their own that the project's containers use.

    They carry no label of the project, and a plain `down` leaves them.
    """
    label = {"label": f"{PROJECT_LABEL}={project}"}
    rows = ask(lambda: engine.api.containers(all=True, filters=label))
    mounts = [mount for row in rows for mount in row.get("Mounts") or ()]
    names = {str(mount.get("Name")) for mount in mounts if mount.get("Type") == "volume"}
    return {name for name in names if _ANONYMOUS.fullmatch(name)}


def volumes_left(engine: Engine, names: Iterable[str]) -> list[Thing]:
    """Those of the named volumes that are still there."""
    wanted = set(names)
    if not wanted:
        return []
    rows = ask(engine.api.volumes).get("Volumes") or ()
    return [Thing("volume", row["Name"], row["Name"]) for row in rows if row["Name"] in wanted]


def remove_things(engine: Engine, things: Iterable[Thing]) -> list[str]:
    """Remove each by force; a line for each that was removed or could not be."""
    from docker.errors import APIError, NotFound

    remove = {
        "container": lambda one: engine.api.remove_container(one, v=True, force=True),
        "network": engine.api.remove_network,
        "volume": lambda one: engine.api.remove_volume(one, force=True),
    }
    lines = []
    for thing in things:
        try:
            remove[thing.kind](thing.id)
            lines.append(f"removed {thing}")
        except NotFound:
            continue
        except APIError as problem:
            lines.append(f"can't remove {thing}: {problem.explanation}")
    return lines


def remove_project(engine: Engine, project: str) -> list[str]:
    """Remove all of a project, also what the engine is still making of it.

    Returns:
        A line for each thing; empty where there was nothing.

    Raises:
        ScriptError: the engine is gone.
    """
    lines: list[str] = []
    for _ in range(_ROUNDS):
        volumes = volumes_left(engine, anonymous_volumes(engine, project))
        things = things_of(engine, project)
        if not things:
            break
        lines += remove_things(engine, [*things, *volumes])
        time.sleep(_PAUSE_SECONDS)
    return [*dict.fromkeys(lines)]
