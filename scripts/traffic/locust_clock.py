"""The master's clock as a worker reads it, with a bound on how wrong that can be.

A worker asks the master for the time. Whatever the two ways took, the master's clock was
read between asking and hearing: half of the round trip bounds the error of taking the middle.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

# How far two clocks may part: 100 parts in a million is twice what quartz does.
DRIFT = 1e-4
# How fast a correction is let in: times of one request must stay in order.
SLEW = 1e-3
ROUND_TRIPS = 30


class _RoundTrip(NamedTuple):
    at: float
    offset: float
    half: float

    def bound(self, now: float) -> float:
        return self.half + DRIFT * (now - self.at)


class MasterClock:
    """Reads the master's clock from the local one.

    Args:
        clock: the local one, in seconds; counts while the machine sleeps.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """Nothing is known before the first round trip."""
        self._clock = clock
        self._trips: deque[_RoundTrip] = deque(maxlen=ROUND_TRIPS)
        self._applied, self._applied_at = 0.0, clock()

    @property
    def round_trips(self) -> int:
        """How many of the last ones are known."""
        return len(self._trips)

    def take(self, asked: float, master: float, answered: float) -> None:
        """One round trip.

        Args:
            asked: the local clock when the master was asked.
            master: what it said.
            answered: the local clock when that was heard.
        """
        if not asked <= answered or not math.isfinite(master):
            return
        middle, half = (asked + answered) / 2, (answered - asked) / 2
        # The way was measured by a clock that itself may run slow.
        self._trips.append(_RoundTrip(answered, master - middle, half * (1 + DRIFT)))

    def set(self) -> None:
        """Believe the best round trip at once; while requests are timed it is let in slowly."""
        self._applied_at = self._clock()
        self._applied = self._best(self._applied_at).offset

    def now(self) -> float:
        """The master's clock; never runs backwards."""
        local = self._clock()
        if self._trips:
            most = SLEW * max(0.0, local - self._applied_at)
            wanted = self._best(local).offset - self._applied
            self._applied += min(max(wanted, -most), most)
            self._applied_at = local
        return local + self._applied

    def bound_seconds(self) -> float:
        """How wrong `now` can be, at most; infinite before the first round trip."""
        if not self._trips:
            return math.inf
        local = self._clock()
        best = self._best(local)
        return best.bound(local) + abs(best.offset - self._applied)

    def _best(self, local: float) -> _RoundTrip:
        return min(self._trips, key=lambda trip: trip.bound(local))
