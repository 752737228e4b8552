"""Everything of a project that can be left behind, as the engine has it right now (G1)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from stack.compose import leftovers
from stack.compose.engine import ask
from stack.inventory import ZOMBIE_SECONDS
from stack.left_over import LeftOver
from stack.ports import port_is_free

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stack.compose.containers import Listed
    from stack.compose.engine import Engine
    from stack.left_over import Inventory

_PS = "-eo pid,stat,comm"


def take_inventory(engine: Engine, project: str, ports: Mapping[str, int]) -> Inventory:
    """Containers, networks and volumes of a project, and its ports that are taken here.

    Processes end with their container, and files with its file system: those two kinds
    are not seen.

    Raises:
        ScriptError: the engine is gone.
    """
    things = leftovers.things_of(engine, project)
    found: Inventory = {
        f"{kind}s": frozenset(str(item) for item in things if item.kind == kind)
        for kind in ("container", "network", "volume")
    }
    taken = (f"port {port} of {name}" for name, port in ports.items() if not port_is_free(port))
    return found | {"sockets": frozenset(taken) if engine.endpoint.local else None}


def zombies(engine: Engine, listed: Sequence[Listed]) -> list[LeftOver]:
    """Zombies inside running containers that are still there a second later.

    Raises:
        ScriptError: the engine is gone.
    """
    first = _look(engine, listed)
    if not first:
        return []
    time.sleep(ZOMBIE_SECONDS)
    lasting = first & _look(engine, listed)
    return [
        LeftOver("zombies", f"{service} leaves a zombie: pid {pid} ({command})")
        for service, pid, command in sorted(lasting)
    ]


def _look(engine: Engine, listed: Sequence[Listed]) -> set[tuple[str, str, str]]:
    found = set()
    for item in listed:
        if item.running:
            for pid, state, command in _processes(engine, item.id):
                if state.startswith("Z"):
                    found.add((item.service, pid, command))
    return found


def _processes(engine: Engine, identity: str) -> list[list[str]]:
    """Process id, state and command of each process of a container; none where it has ended."""
    from docker.errors import APIError

    def call() -> list[list[str]]:
        try:
            value: Mapping[str, Any] = engine.api.top(identity, ps_args=_PS)
        except APIError:
            return []
        return [row for row in value.get("Processes") or () if len(row) >= 3]  # noqa: PLR2004 - the columns of _PS

    rows: list[list[str]] = ask(call)
    return [row[:3] for row in rows]
