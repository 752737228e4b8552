"""Seeded 48-hour series, healthy and faulty, and what the detectors say about each.

One sample a minute, as a soak takes them. A kind is one way to be healthy or broken; its
other properties (phase, period, time constant, moment) are drawn anew for each series.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detectors.finding import FAILED, NOT_JUDGED

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from detectors.finding import Finding

HOURS, MINUTES = 48, 2880
FALSE_ALARMS, DETECTED = 0.02, 0.99
HEALTHY, FAULTY, BOTH = "no alarm", "alarm", "not promised"


@dataclass(frozen=True)
class Kind:
    """One row of the table.

    Args:
        detector: what judges it.
        name: what the series is like.
        expected: HEALTHY, FAULTY, or BOTH for what the method does not promise.
        looks: makes one series and gives the finding of each look; the last one is the
            end of the 48 hours.
    """

    detector: str
    name: str
    expected: str
    looks: Callable[[random.Random], Iterator[Finding]]


@dataclass
class Tally:
    """What came of the series of one kind."""

    detector: str
    name: str
    expected: str
    series: int = 0
    failed: int = 0
    failed_at_any_look: int = 0
    not_judged: int = 0

    @property
    def kept(self) -> bool | None:
        """Alarms in at most 2 % of healthy series, in at least 99 % of faulty ones, at any look.

        None where nothing is promised. A healthy series that was not judged at its end is
        no success either.
        """
        if self.expected == BOTH:
            return None
        if self.expected == HEALTHY:
            wrong = max(self.failed_at_any_look, self.not_judged)
            return wrong <= FALSE_ALARMS * self.series
        return self.failed_at_any_look >= DETECTED * self.series


def run_kind(index: int, series: int, seed: str) -> Tally:
    """Judge so many series of one of `all_kinds()`; the same seed gives the same series."""
    import random

    kind = all_kinds()[index]
    tally = Tally(kind.detector, kind.name, kind.expected)
    for number in range(series):
        # Of its own for each series, so that one more kind does not change the others.
        text = f"{seed}/{kind.detector}/{kind.name}/{number}"
        dice = random.Random(text)  # noqa: S311 - series that come again, no secret
        outcomes = [finding.outcome for finding in kind.looks(dice)]
        tally.series += 1
        tally.failed += outcomes[-1] == FAILED
        tally.failed_at_any_look += FAILED in outcomes
        tally.not_judged += outcomes[-1] == NOT_JUDGED
    return tally


def all_kinds() -> list[Kind]:
    """The table's rows, in its order."""
    from detectors.simulation_events import event_kinds
    from detectors.simulation_latency import latency_kinds
    from detectors.simulation_memory import memory_kinds

    return [*memory_kinds(), *latency_kinds(), *event_kinds()]


def wave(dice: random.Random, share: float) -> list[float]:
    """A daily wave of that height around 1, with any phase; one factor a minute."""
    phase, turn = dice.random() * math.tau, math.tau / 24 / 60
    return [1 + share * math.sin(turn * minute + phase) for minute in range(MINUTES)]
