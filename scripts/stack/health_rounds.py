"""Health checks of all services at once, at fixed times: an interval is never skipped or moved."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stack.health import probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stack.health import Probe
    from stack.model import Service


@dataclass(frozen=True)
class Check:
    """One health check of one service in one interval."""

    interval: int
    service: str
    seen: Probe

    @property
    def problem(self) -> str | None:
        """What came instead of status 200."""
        if self.seen.healthy:
            return None
        got = f"status {self.seen.status}" if self.seen.status else self.seen.error
        return f"{self.service}: expected status 200, got {got}"


@dataclass(frozen=True)
class Round:
    """All checks of one interval; `late_seconds` is how long after its time it began."""

    interval: int
    late_seconds: float
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that did not see 200."""
        return tuple(check for check in self.checks if check.problem)


def health_rounds(
    services: Sequence[Service], intervals: int, interval_seconds: float
) -> Iterator[Round]:
    """Ask every service for its health in each interval, over new connections, side by side.

    Args:
        services: who is asked; each gets one check an interval.
        intervals: how many; the first one is due at once.
        interval_seconds: between two intervals, from the first one's time on.
    """
    begun = time.monotonic()
    with ThreadPoolExecutor(max(1, len(services))) as pool:
        for number in range(1, intervals + 1):
            due = begun + (number - 1) * interval_seconds
            time.sleep(max(0.0, due - time.monotonic()))
            late = max(0.0, time.monotonic() - due)
            seen = pool.map(lambda item: probe(item.url + item.health), services)
            checks = zip(services, seen, strict=True)
            yield Round(number, late, tuple(Check(number, item.name, one) for item, one in checks))
