"""Ends each minute: reads what every service uses, writes the file, keeps a few numbers."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from soak.minutes import service_rows
from soak.sampler import OwnUse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from soak.collector import Collector
    from soak.folder import SoakFolder
    from soak.history import History
    from soak.minutes import Minute
    from soak.sampler import Sampler, Usage
    from stack.identity import Identity


class MinuteWriter:
    """Writes minute files.

    Args:
        folder: of the soak.
        sampler: of the running system.
        collector: the requests.
        history: gets the memory of each minute.
        piece: its number.
    """

    def __init__(
        self,
        folder: SoakFolder,
        sampler: Sampler,
        collector: Collector,
        history: History,
        piece: int,
    ) -> None:
        """See the class."""
        self._folder, self._sampler, self._piece = folder, sampler, piece
        self._collector, self._history = collector, history
        self._usage: dict[str, Usage | None] = {}
        self._written = len(folder.minutes)
        self._own, self._own_memory = OwnUse(), array("q")
        self.rows: dict[str, dict[str, Any] | None] = dict.fromkeys(history.memory)

    def begin(self, identities: Mapping[str, Identity | None]) -> None:
        """Read what services use now: the first minute's processor time counts from here."""
        self._usage = self._sampler.usage(identities)

    def write(
        self,
        over: Minute,
        now: float,
        identities: Mapping[str, Identity | None],
        restarts: Mapping[str, int | None],
        *,
        partial: bool = False,
    ) -> None:
        """Write the file of a minute that is over, or `partial` was cut."""
        usage = self._sampler.usage(identities)
        self.rows = service_rows(usage, self._usage, now - over.begin_seconds, restarts)
        self._usage = usage
        for name, memory in self._history.memory.items():
            row = usage.get(name)
            memory.add(now, self._collector.ended, None if row is None else row.memory_bytes)
        own = self._own.memory_bytes()
        if own is not None:
            self._own_memory.append(own)
        self._written += 1
        value = over.as_json(
            number=self._written,
            piece=self._piece,
            end_seconds=now,
            partial=partial,
            in_flight=self._collector.flying,
            services=self.rows,
            harness={"cpu_seconds": round(self._own.used_cpu_seconds(), 3), "memory_bytes": own},
        )
        self._folder.write_minute(self._written, value)

    def harness_figures(self, seconds: float) -> dict[str, Any]:
        """What the harness itself took in this piece; growth counts from its second minute."""
        memory = self._own_memory
        grown = memory[-1] - memory[1] if len(memory) > 2 else None  # noqa: PLR2004 - first, second, last
        return {
            "cpu_ratio": round(self._own.used_cpu_seconds() / seconds, 6) if seconds > 0 else None,
            "memory_first_bytes": memory[1] if len(memory) > 1 else None,
            "memory_last_bytes": memory[-1] if memory else None,
            "memory_growth_bytes": grown,
        }
