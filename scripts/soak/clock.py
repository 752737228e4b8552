"""Instants that a later process, and a later boot, can still place."""

from __future__ import annotations

import time
from dataclasses import dataclass

from traffic.clock import boot_id, boottime_seconds


@dataclass(frozen=True)
class Moment:
    """One instant by every clock there is."""

    boot_id: str
    boottime_seconds: float
    wall_seconds: float

    def seconds_until(self, later: Moment) -> float:
        """Seconds to a later moment; by the wall clock where the machine was booted between."""
        if self.boot_id == later.boot_id:
            return later.boottime_seconds - self.boottime_seconds
        return later.wall_seconds - self.wall_seconds


def now() -> Moment:
    """This instant."""
    return Moment(boot_id(), boottime_seconds(), time.time())
