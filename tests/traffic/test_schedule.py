"""traffic.schedule: exact counts, no two starts at once, the same every time."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.load import load_stack
from traffic.model import Profile
from traffic.schedule import Schedule, offsets

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCE = Path(__file__).resolve().parents[2] / "compose/reference/stack.yaml"
TWO_DAYS_SECONDS = 48 * 3600.0


def profiles(*intervals: Fraction | str) -> tuple[Profile, ...]:
    return tuple(
        Profile(f"p{index}", "x", Fraction(interval), ())
        for index, interval in enumerate(intervals)
    )


def test_the_reference_system_gets_exactly_302400_requests_and_576_sessions_in_48_hours() -> None:
    """G2: chat 1/s, action 0.5/s, executors 0.25/s, a session every 300 s."""
    found = load_stack(REFERENCE, {}).traffic
    schedule = Schedule(found)
    sessions, chats, actions, *executors = schedule.planned(TWO_DAYS_SECONDS)
    assert (sessions, chats, actions) == (576, 172_800, 86_400)
    assert sum(executors) == 36_000
    session_requests = 576 * len(found[0].steps)
    assert schedule.planned_requests(TWO_DAYS_SECONDS) - session_requests == 302_400


def test_an_accelerated_run_has_the_same_requests_in_less_time() -> None:
    found = profiles("1", "2", "12")
    whole, fast = Schedule(found), Schedule(found, speed=60)
    assert fast.planned(TWO_DAYS_SECONDS / 60) == whole.planned(TWO_DAYS_SECONDS)
    slow_starts, fast_starts = whole.starts(0, 600), fast.starts(0, 10)
    for slow, quick in zip(slow_starts, fast_starts, strict=True):
        assert (slow.profile, slow.sequence) == (quick.profile, quick.sequence)
        assert quick.intended_seconds == pytest.approx(slow.intended_seconds / 60)


def test_profiles_of_multiple_intervals_never_start_at_once() -> None:
    schedule = Schedule(load_stack(REFERENCE, {}).traffic)
    times = [start.intended_seconds for start in schedule.starts(0, 1200)]
    assert min(after - before for before, after in pairwise(times)) > 0.05


def test_every_profile_starts_within_its_first_interval() -> None:
    found = profiles("1", "1.5", "12", "300", "0.7")
    for profile, offset in zip(found, offsets(found), strict=True):
        assert 0 <= offset < profile.interval_seconds


INTERVALS = st.lists(
    st.sampled_from(["0.02", "0.1", "1/3", "1", "1.5", "2", "7", "12"]), min_size=1, max_size=5
)


@given(INTERVALS, st.floats(0, 100), st.floats(0, 100), st.sampled_from([0.5, 1.0, 3.0, 60.0]))
def test_a_resumed_schedule_goes_on_where_the_first_part_ended(
    intervals: Sequence[str], first: float, second: float, speed: float
) -> None:
    schedule = Schedule(profiles(*intervals), speed)
    middle, end = first / speed, (first + second) / speed
    pieces = [*schedule.starts(0, middle), *schedule.starts(middle, end)]
    assert pieces == [*schedule.starts(0, end)]
    counts = [sum(start.profile == index for start in pieces) for index in range(len(intervals))]
    assert counts == [*schedule.planned(end)]


def test_a_schedule_that_lost_a_start_would_be_seen() -> None:
    """The counts above can fail: an interval that is a trifle longer gives one start less."""
    (exactly,) = profiles("1")
    longer = replace(exactly, interval_seconds=Fraction(172_801, 172_800))
    assert Schedule((exactly,)).planned(TWO_DAYS_SECONDS) == (172_800,)
    assert Schedule((longer,)).planned(TWO_DAYS_SECONDS) == (172_799,)


def test_no_profiles_and_no_time_have_no_starts() -> None:
    assert [*Schedule(()).starts(0, 10)] == []
    assert Schedule(profiles("1")).planned(0) == (0,)
