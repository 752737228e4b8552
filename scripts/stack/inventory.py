"""Everything of a process run that can be left behind, as it is on the machine right now (G1)."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from stack.left_over import LeftOver
from stack.ports import port_is_free

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stack.left_over import Inventory

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, nothing is made there
ZOMBIE_SECONDS = 1.0
_MAPPED = re.compile(rf"{SHARED_MEMORY}/(.+)\n")


def take_inventory(
    processes: Iterable[psutil.Process],
    ports: Mapping[str, int],
    temporary: Path,
    shared: Iterable[str] = (),
) -> Inventory:
    """Processes, zombies, sockets and files of a run.

    Args:
        processes: all that is known to be of this run and has not been waited for.
        ports: the port of each service.
        temporary: the run's own folder for temporary files.
        shared: names of shared memory that the run's processes were seen to use.
    """
    living, zombies, sockets = set(), set(), set()
    for process in processes:
        name = describe(process)
        if is_zombie(process):
            zombies.add(f"zombie {name}")
        elif process.is_running():
            living.add(name)
            sockets |= {f"port {port} of {name}" for port in listening_ports(process)}
    sockets |= {f"port {port} of {name}" for name, port in ports.items() if not port_is_free(port)}
    files = {path.name for path in temporary.iterdir()} if temporary.is_dir() else set()
    files |= {f"{SHARED_MEMORY}/{name}" for name in shared if (SHARED_MEMORY / name).exists()}
    return {
        "zombies": frozenset(zombies),
        "processes": frozenset(living),
        "sockets": frozenset(sockets),
        "files": frozenset(f"file {name}" for name in files),
    }


def describe(process: psutil.Process) -> str:
    """A process by its number and its command, for people."""
    try:
        text = " ".join(process.cmdline())[:120] or process.name()
    except psutil.Error:  # a zombie has no command line any more
        text = _name(process)
    return f"pid {process.pid} ({text})"


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return "gone"


def is_zombie(process: psutil.Process) -> bool:
    """Whether a process has ended and nobody has waited for it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def listening_ports(process: psutil.Process) -> list[int]:
    """TCP ports that a process listens on; none where it can't be asked."""
    with contextlib.suppress(psutil.Error, OSError):
        rows = process.net_connections("tcp")
        return sorted({row.laddr.port for row in rows if row.status == psutil.CONN_LISTEN})
    return []


def stray_lines(process: psutil.Process) -> list[LeftOver]:
    """The lines about a process that its service left: itself, and each port it still holds."""
    name = describe(process)
    if is_zombie(process):
        return [LeftOver("zombies", f"left over: zombie {name}")]
    ports = listening_ports(process)
    lines = [LeftOver("processes", f"left over: ended {name}")]
    return lines + [LeftOver("sockets", f"left over: port {port} held by {name}") for port in ports]


def lasting_zombies(trees: Mapping[str, Iterable[psutil.Process]]) -> list[LeftOver]:
    """Zombies below running services that are still there a second later.

    A child that has just ended is one for a moment, in every healthy program.
    """
    first = {
        (item.pid, item.create_time()): (service, item)
        for service, tree in trees.items()
        for item in tree
        if is_zombie(item)
    }
    if not first:
        return []
    time.sleep(ZOMBIE_SECONDS)
    return [
        LeftOver("zombies", f"{service} leaves a zombie: {describe(item)}")
        for service, item in first.values()
        if item.is_running() and is_zombie(item)
    ]


def shared_memory(processes: Iterable[psutil.Process]) -> set[str]:
    """Names below /dev/shm that processes have open or mapped (Linux; elsewhere none)."""
    found: set[str] = set()
    for process in processes:
        folder = Path(f"/proc/{process.pid}")
        with contextlib.suppress(OSError):
            found |= {*_MAPPED.findall((folder / "maps").read_text("utf-8", "replace"))}
            found |= {*_MAPPED.findall("\n".join(map(_target, (folder / "fd").iterdir())) + "\n")}
    return {name for name in found if not name.endswith(" (deleted)")}


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
