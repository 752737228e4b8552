"""Everything in an engine that carries a project's label: found, named, removed."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stack.compose.containers import PROJECT_LABEL
from stack.compose.engine import ask, engine_trouble

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
    """Volumes that the engine made for the project's containers because none was named.

    They carry no label of the project, and a plain `down` leaves them. An external volume
    may have such a name too: whatever a container was asked to mount by name is not ours.
    """
    label = {"label": f"{PROJECT_LABEL}={project}"}
    rows = ask(lambda: engine.api.containers(all=True, filters=label))
    values = [_inspect(engine, row["Id"]) for row in rows]
    named = {name for value in values for name in _mounted_by_name(value)}
    return {name for value in values for name in _made_for(value)} - named


def _inspect(engine: Engine, identity: str) -> Mapping[str, Any]:
    """What the engine knows of a container; nothing where it has gone meanwhile."""
    from docker.errors import NotFound

    def call() -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = engine.api.inspect_container(identity)
        except NotFound:
            return {}
        return found

    value: Mapping[str, Any] = ask(call)
    return value


def _mounted_by_name(value: Mapping[str, Any]) -> set[str]:
    """Sources that were written down for a container (`-v NAME:PATH`, `--mount source=`)."""
    settings = value.get("HostConfig") or {}
    binds = (str(bind).partition(":")[0] for bind in settings.get("Binds") or ())
    return {*binds, *(str(item.get("Source")) for item in settings.get("Mounts") or ())}


def _made_for(value: Mapping[str, Any]) -> set[str]:
    """Names that the engine chose; none where volumes may come from another container."""
    if (value.get("HostConfig") or {}).get("VolumesFrom"):
        return set()
    mounts = [item for item in value.get("Mounts") or () if item.get("Type") == "volume"]
    return {name for item in mounts if _ANONYMOUS.fullmatch(name := str(item.get("Name")))}


def volumes_left(engine: Engine, names: Iterable[str]) -> list[Thing]:
    """Those of the named volumes that are still there."""
    wanted = set(names)
    if not wanted:
        return []
    rows = ask(engine.api.volumes).get("Volumes") or ()
    return [Thing("volume", row["Name"], row["Name"]) for row in rows if row["Name"] in wanted]


def remove_things(engine: Engine, things: Iterable[Thing]) -> list[str]:
    """Remove each by force; a line for each that was removed or could not be.

    Raises:
        ScriptError: the engine is gone, or does not answer in time.
    """
    from docker.errors import APIError, DockerException, NotFound
    from requests.exceptions import RequestException

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
        except (DockerException, RequestException) as problem:
            raise engine_trouble(problem) from problem
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
