"""Everything of a project that can be left behind, as the engine has it right now (G1)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from stack.compose import leftovers
from stack.compose.engine import ask
from stack.inventory import lasting_zombies
from stack.ports import port_is_free

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stack.compose.containers import Listed
    from stack.compose.engine import Engine
    from stack.left_over import Inventory, LeftOver


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


def zombies(engine: Engine, listed: Sequence[Listed]) -> list[LeftOver] | None:
    """Zombies inside running containers that are still there a second later.

    `docker top` leaves zombies out, so the containers' processes are looked at here.

    Returns:
        None where one container's processes can't be seen: a remote engine, a virtual machine.

    Raises:
        ScriptError: the engine is gone.
    """
    trees = {}
    for item in listed:
        if item.running:
            tree = _processes(engine, item.id)
            if tree is None:
                return None
            trees[item.service] = tree
    return lasting_zombies(trees)


def _processes(engine: Engine, identity: str) -> list[psutil.Process] | None:
    """All processes of a container, through its first one; None where that is not seen here."""
    from docker.errors import NotFound

    def pid_of() -> int:
        try:
            return int(engine.api.inspect_container(identity)["State"]["Pid"])
        except NotFound:
            return 0

    pid: int = ask(pid_of)
    try:
        if identity not in Path(f"/proc/{pid}/cgroup").read_text("utf-8"):
            return None
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except (OSError, psutil.Error):
        return None
