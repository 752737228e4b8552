"""What each service uses: memory, processor, files, threads, connections; None where unseen.

Memory of a process tree is the sum of USS: what would be free if it ended. A sum of RSS
counts shared pages once a process. A container's is its working set, as the engine has it.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from common.cli import ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stack.identity import Identity
    from stack.runtime import Runtime

USS, WORKING_SET = "uss", "working_set"
_ROLLUP = Path("/proc/self/smaps_rollup")


@dataclass(frozen=True)
class Usage:
    """One reading of a service; CPU seconds count from its start."""

    memory_bytes: int | None
    memory_kind: str
    cpu_seconds: float | None
    processes: int
    file_descriptors: int | None = None
    threads: int | None = None
    connections: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The reading for evidence."""
        return asdict(self)


class Sampler:
    """Looks at the services of a running system.

    Args:
        runtime: the started runtime.
    """

    def __init__(self, runtime: Runtime) -> None:
        """See the class."""
        self._runtime = runtime
        self._container = _container_reader(runtime)

    def identities(self) -> dict[str, Identity | None]:
        """Which process or container each service is; all None while the engine is gone."""
        try:
            return dict(self._runtime.identities())
        except ScriptError:
            return {service.name: None for service in self._runtime.services}

    def usage(self, identities: Mapping[str, Identity | None]) -> dict[str, Usage | None]:
        """A reading of each service; None for one that can't be seen or has ended."""
        return {name: self._one(item) for name, item in identities.items()}

    def _one(self, identity: Identity | None) -> Usage | None:
        if identity is None or identity.ended:
            return None
        if identity.container:
            return self._container(identity.container)
        return None if identity.pid is None else usage_of_tree(identity.pid)


def usage_of_tree(pid: int) -> Usage | None:
    """A process and its descendants together; None where it has ended."""
    try:
        root = psutil.Process(pid)
        found = [root, *root.children(recursive=True)]
    except psutil.Error:
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        return Usage(
            memory_bytes=_sum(found, lambda item: item.memory_full_info().uss),
            memory_kind=USS,
            cpu_seconds=_cpu_seconds(found),
            processes=len(found),
            file_descriptors=_sum(found, _handles),
            threads=_sum(found, lambda item: item.num_threads()),
            connections=_sum(found, _connections),
        )
    return None


def _sum(found: list[psutil.Process], read: Callable[[psutil.Process], int]) -> int | None:
    """The sum over a tree; a child that ended meanwhile adds nothing."""
    total = 0
    for item in found:
        try:
            total += read(item)
        except psutil.AccessDenied:
            return None
        except psutil.NoSuchProcess:
            if item is found[0]:
                raise
    return total


def _cpu_seconds(found: list[psutil.Process]) -> float | None:
    # Hundredths, so that the sum of whole numbers serves; ended children count in their parent.
    ticks = _sum(found, lambda item: round(sum(item.cpu_times()[:4]) * 100))
    return None if ticks is None else ticks / 100


def _handles(item: psutil.Process) -> int:
    # Windows has handles instead; the types know only the system that they are checked on.
    count: Callable[[], int] = getattr(item, "num_fds", None) or getattr(item, "num_handles")  # noqa: B009
    return count()


def _connections(item: psutil.Process) -> int:
    rows = item.net_connections("tcp")
    return sum(row.status == psutil.CONN_ESTABLISHED for row in rows)


def _container_reader(runtime: Runtime) -> Callable[[str], Usage | None]:
    if runtime.name != "compose":
        return lambda _container: None
    from stack.compose.runtime import ComposeRuntime
    from stack.compose.usage import read_usage

    assert isinstance(runtime, ComposeRuntime)  # noqa: S101 - the only runtime of that name
    engine = runtime.engine

    def read(container: str) -> Usage | None:
        found = read_usage(engine, container)
        if found is None:
            return None
        return Usage(
            memory_bytes=found["memory_bytes"],
            memory_kind=WORKING_SET,
            cpu_seconds=found["cpu_seconds"],
            processes=found["processes"],
        )

    return read


class OwnUse:
    """What the harness itself takes: it may cost next to nothing (G2)."""

    def __init__(self) -> None:
        """Measure from now on."""
        self._process = psutil.Process()
        self._cpu_begin = self.cpu_seconds()

    def cpu_seconds(self) -> float:
        """Processor time of this process so far."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def used_cpu_seconds(self) -> float:
        """Processor time since this was made."""
        return self.cpu_seconds() - self._cpu_begin

    def memory_bytes(self) -> int | None:
        """What this process wrote itself; USS where the system does not tell them apart.

        USS steps up by the pages of shared libraries when the last other process that
        has them mapped ends: that is no growth of ours.
        """
        try:
            found = re.search(
                r"^Private_Dirty:\s+(\d+) kB", _ROLLUP.read_text("ascii"), re.MULTILINE
            )
            if found:
                return int(found[1]) * 1024
        except OSError:
            pass
        try:
            return int(self._process.memory_full_info().uss)
        except (psutil.Error, AttributeError):
            return None
