"""What one worker was asked to send, and what of it it has not told: nothing goes missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from traffic.sample import Outcome, Sample
from traffic.schedule import Start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from traffic.schedule import Schedule

# Float against exact fraction: look back a little, and skip what was begun.
_BACK_SECONDS = 1.0


@dataclass(frozen=True)
class Split:
    """One of several equal parts of a schedule; start k belongs to worker k modulo their number.

    Args:
        index: of the worker, from 0.
        workers: how many there are.
    """

    index: int
    workers: int

    def holds(self, start: Start) -> bool:
        """Whether a start belongs to this part; profiles begin at different workers."""
        return (start.sequence + start.profile) % self.workers == self.index

    def starts(self, schedule: Schedule, begin: float, end: float) -> Iterator[Start]:
        """The part's starts from `begin` until before `end`, in order of time."""
        return (start for start in schedule.starts(begin, end) if self.holds(start))


@dataclass
class _Open:
    """A start that is not over: its next step, and when that began, if it did."""

    step: int
    intended_seconds: float | None


class Share:
    """Follows one worker through its part.

    Args:
        schedule: of all workers.
        split: which part.
        begin_seconds: where the run begins or goes on.
        end_seconds: where it ends.
    """

    def __init__(
        self, schedule: Schedule, split: Split, begin_seconds: float, end_seconds: float
    ) -> None:
        """Nothing was told yet."""
        self._schedule, self._split = schedule, split
        self._begin, self._end = begin_seconds, end_seconds
        self._open: dict[tuple[int, int], _Open] = {}
        self._last = Start(float("-inf"), 0, 0)
        self.due = self.sent = 0

    def started(self, profile: int, step: int, sequence: int, intended_seconds: float) -> None:
        """A request began."""
        if step == 0:
            self.sent += 1
            self._came_due(Start(intended_seconds, profile, sequence))
        self._open[profile, sequence] = _Open(step, intended_seconds)

    def ended(self, sample: Sample) -> None:
        """A request ended, or was not sent."""
        key = sample.profile, sample.sequence
        if sample.step == 0 and key not in self._open:
            self._came_due(Start(sample.intended_seconds, sample.profile, sample.sequence))
        if sample.step + 1 == len(self._schedule.profiles[sample.profile].steps):
            self._open.pop(key, None)
        else:
            self._open[key] = _Open(sample.step + 1, None)

    def _came_due(self, start: Start) -> None:
        self.due += 1
        self._last = max(self._last, start)

    def broken_off(self, now_seconds: float) -> Iterator[Sample]:
        """A sample for each request that was begun, or was to follow one, and never ended.

        What was in flight says nothing about the system; what was to follow was not sent.
        """
        for (profile, sequence), item in sorted(self._open.items()):
            step = item.step
            if (at := item.intended_seconds) is not None:
                yield Sample(
                    profile,
                    step,
                    sequence,
                    at,
                    done_seconds=max(at, now_seconds),
                    outcome=Outcome.UNFINISHED,
                )
                step += 1
            yield from self.not_sent(Start(now_seconds, profile, sequence), now_seconds, step)
        self._open.clear()

    def rest(self) -> Iterator[Start]:
        """The starts that the worker has told nothing of, in order of time."""
        begin = max(self._begin, self._last.intended_seconds - _BACK_SECONDS)
        for start in self._split.starts(self._schedule, begin, self._end):
            if start > self._last:
                yield start

    def not_sent(self, start: Start, now_seconds: float, step: int = 0) -> Iterator[Sample]:
        """A sample for each request of a start, from a step on, that nobody sends."""
        for number in range(step, len(self._schedule.profiles[start.profile].steps)):
            yield Sample(
                start.profile,
                number,
                start.sequence,
                start.intended_seconds,
                done_seconds=max(start.intended_seconds, now_seconds),
                outcome=Outcome.NOT_SENT,
            )
