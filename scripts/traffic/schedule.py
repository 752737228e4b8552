"""When each request is meant to start: pure, exact, and the same every time.

Start k of a profile is at (k x interval + offset) / speed seconds after the run's start.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from traffic.model import Profile


class Start(NamedTuple):
    """One start of a profile; sorts by time."""

    intended_seconds: float
    profile: int
    sequence: int


def exact(number: float | str) -> Fraction:
    """The fraction that a decimal number was written as: 0.1 is 1/10."""
    return Fraction(str(number))


def offsets(profiles: Sequence[Profile]) -> tuple[Fraction, ...]:
    """The first start of each profile: spread over its interval, never two at once.

    Each profile has a place of its own within the shortest interval, and a whole number
    of shortest intervals before it, so that profiles of multiple intervals never meet.
    """
    intervals = [profile.interval_seconds for profile in profiles]
    shortest = min(intervals, default=Fraction(1))
    found = []
    for index, interval in enumerate(intervals):
        share = Fraction(2 * index + 1, 2 * len(intervals))
        whole = share * interval // shortest
        found.append((whole * shortest + share * shortest) % interval)
    return tuple(found)


@dataclass(frozen=True)
class Schedule:
    """The starts of some profiles.

    Args:
        profiles: in the order of the stack file.
        speed: above 1 for an accelerated run, which can't count for a release (G7).
    """

    profiles: tuple[Profile, ...]
    speed: float = 1.0

    def planned(self, duration_seconds: float) -> tuple[int, ...]:
        """How many starts of each profile lie before `duration_seconds`."""
        return tuple(
            self._first_at(index, offset, exact(duration_seconds))
            for index, offset in enumerate(offsets(self.profiles))
        )

    def planned_requests(self, duration_seconds: float) -> int:
        """How many requests that makes: each start sends every step of its profile."""
        starts = self.planned(duration_seconds)
        return sum(
            number * len(profile.steps)
            for number, profile in zip(starts, self.profiles, strict=True)
        )

    def starts(self, begin_seconds: float, end_seconds: float) -> Iterator[Start]:
        """Every start from `begin_seconds` until before `end_seconds`, in order of time.

        A run that is resumed begins at its own time: sequences go on, none stands twice.
        """
        begin, end = exact(begin_seconds), exact(end_seconds)
        return heapq.merge(
            *(
                self._stream(index, offset, begin, end)
                for index, offset in enumerate(offsets(self.profiles))
            )
        )

    def _stream(
        self, index: int, offset: Fraction, begin: Fraction, end: Fraction
    ) -> Iterator[Start]:
        interval, speed = self.profiles[index].interval_seconds, exact(self.speed)
        first, last = (self._first_at(index, offset, at) for at in (begin, end))
        for number in range(first, last):
            yield Start(float((number * interval + offset) / speed), index, number)

    def _first_at(self, index: int, offset: Fraction, at: Fraction) -> int:
        """The number of the first start at or after a time."""
        exactly = (at * exact(self.speed) - offset) / self.profiles[index].interval_seconds
        return max(0, -(-exactly.numerator // exactly.denominator))
