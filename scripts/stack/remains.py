"""The processes of a process run beyond the services' own: found, named, ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stack import records
from stack.child import adopted_orphans, reaped
from stack.inventory import lasting_zombies, shared_memory, stray_lines, take_inventory

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import psutil

    from stack.left_over import Inventory, LeftOver


@dataclass
class Remains:
    """What a run may leave.

    Args:
        marker: in the environment of every process of the run.
        adopts: orphans come to this program (Linux).
        temporary: the run's folder for temporary files.
    """

    marker: str
    adopts: bool
    temporary: Path
    _shared: set[str] = field(default_factory=set)

    def strays(self) -> list[psutil.Process]:
        """Processes of this run that no service tree holds any more.

        Found by their environment, and where orphans come to us also by their parent:
        a double fork hides from the one, a cleared environment from the other.
        """
        found = {item.pid: item for item in records.marked_processes(self.marker)}
        if self.adopts:
            found |= {item.pid: item for item in adopted_orphans(self.marker)}
        return [*found.values()]

    def end_strays(self) -> list[LeftOver]:
        """End them; a line for each, and for each port that it still held."""
        strays = [item for item in self.strays() if not reaped(item)]
        lines = [line for item in strays for line in stray_lines(item)]
        records.end_processes(strays)
        return lines

    def examine(self, trees: Mapping[str, Iterable[psutil.Process]]) -> list[LeftOver]:
        """Zombies that running services keep; what they hold is remembered for `inventory`."""
        known = {name: [*tree] for name, tree in trees.items()}
        self._shared |= shared_memory(item for tree in known.values() for item in tree)
        return lasting_zombies(known)

    def inventory(self, ports: Mapping[str, int]) -> Inventory:
        """What there is of the run now; processes only where none can hide from us."""
        found = take_inventory(self.strays(), ports, self.temporary, self._shared)
        return found if self.adopts else found | {"processes": None, "zombies": None}
