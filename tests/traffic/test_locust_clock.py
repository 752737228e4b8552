"""traffic.locust_clock: another machine's clock, and how wrong it can be."""

from __future__ import annotations

import math
import random

import pytest

from traffic.locust_clock import DRIFT, MasterClock


class Machines:
    """A worker's clock and its master's, `ahead` seconds apart and drifting."""

    def __init__(self, ahead: float, drift: float = 0.0) -> None:
        self.local, self.ahead, self.drift = 1000.0, ahead, drift
        self.clock = MasterClock(lambda: self.local)

    @property
    def master(self) -> float:
        return self.local * (1 + self.drift) + self.ahead

    def ask(self, there: float, back: float) -> None:
        """One round trip."""
        asked = self.local
        self.local += there
        said = self.master
        self.local += back
        self.clock.take(asked, said, self.local)

    @property
    def error(self) -> float:
        return abs(self.clock.now() - self.master)


def test_before_the_first_round_trip_nothing_is_known() -> None:
    assert Machines(5).clock.bound_seconds() == math.inf


@pytest.mark.parametrize(("there", "back"), [(0.001, 0.001), (0.04, 0.0), (0.0, 0.04)])
def test_the_error_is_within_the_bound_however_uneven_the_ways_are(
    there: float, back: float
) -> None:
    machines = Machines(ahead=-12345.6)
    machines.ask(there, back)
    machines.clock.set()
    assert machines.error <= machines.clock.bound_seconds() + 1e-9
    assert machines.clock.bound_seconds() == pytest.approx((there + back) / 2, rel=0.001)


def test_the_best_of_many_round_trips_counts() -> None:
    machines = Machines(ahead=3)
    for way in (0.2, 0.001, 0.3):
        machines.ask(way, 0.0)
    machines.clock.set()
    assert machines.clock.bound_seconds() < 0.002


def test_a_drifting_clock_stays_within_the_bound_for_48_hours() -> None:
    chance = random.Random(1)  # noqa: S311 - not for secrets
    machines = Machines(ahead=7, drift=DRIFT / 2)
    machines.ask(0.001, 0.001)
    machines.clock.set()
    worst = 0.0
    for _ in range(48 * 360):
        machines.local += 10
        machines.ask(chance.expovariate(500), chance.expovariate(500))
        assert machines.error <= machines.clock.bound_seconds() + 1e-9
        worst = max(worst, machines.clock.bound_seconds())
    assert worst < 0.05


def test_a_correction_never_runs_the_clock_backwards() -> None:
    machines = Machines(ahead=0)
    machines.ask(0.4, 0.0)
    machines.clock.set()
    machines.ask(0.0, 0.0)
    last = machines.clock.now()
    for _ in range(1000):
        machines.local += 0.001
        now = machines.clock.now()
        assert now > last
        last = now


def test_without_new_round_trips_the_bound_grows() -> None:
    machines = Machines(ahead=0)
    machines.ask(0.001, 0.001)
    machines.clock.set()
    machines.local += 3600
    assert machines.clock.bound_seconds() > 0.3


def test_a_round_trip_that_ends_before_it_began_or_is_no_number_is_none() -> None:
    machines = Machines(ahead=0)
    machines.clock.take(10.0, 10.0, 9.0)
    machines.clock.take(10.0, math.nan, 11.0)
    assert machines.clock.round_trips == 0
