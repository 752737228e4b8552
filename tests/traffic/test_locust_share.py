"""traffic.locust_share: of a lost worker's part, every request is accounted for once."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from traffic_system import profile

from traffic.locust_share import Share, Split
from traffic.model import Step
from traffic.sample import Outcome, Sample
from traffic.schedule import Schedule

ONE = profile("/ok")
TWO = replace(
    ONE,
    interval_seconds=Fraction(1, 3),
    steps=(ONE.steps[0], Step("second", "GET", "/x", {}, (None,), ONE.steps[0].expect)),
)
SCHEDULE = Schedule((ONE, TWO))
SECONDS = 10.0


def share() -> Share:
    return Share(SCHEDULE, Split(0, 2), 0.0, SECONDS)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_the_parts_make_the_whole_and_share_nothing(workers: int) -> None:
    parts = [[*Split(at, workers).starts(SCHEDULE, 0, SECONDS)] for at in range(workers)]
    assert sorted(start for part in parts for start in part) == [*SCHEDULE.starts(0, SECONDS)]
    assert max(map(len, parts)) - min(map(len, parts)) <= 2


@pytest.mark.parametrize("told", [0, 1, 2, 3, 17, 64, 65])
def test_what_was_told_and_what_is_left_make_the_part(told: int) -> None:
    part, planned = share(), [*Split(0, 2).starts(SCHEDULE, 0, SECONDS)]
    for start in planned[:told]:
        part.started(start.profile, 0, start.sequence, start.intended_seconds)
    assert [*part.rest()] == planned[told:]
    assert (part.due, part.sent) == (min(told, len(planned)), min(told, len(planned)))


def test_a_resumed_part_does_not_begin_again() -> None:
    part = Share(SCHEDULE, Split(0, 2), 5.0, SECONDS)
    assert min(start.intended_seconds for start in part.rest()) >= 5.0


def test_a_start_that_the_worker_refused_is_told_and_not_sent() -> None:
    part = share()
    for step in (0, 1):
        part.ended(Sample(1, step, 1, 0.4, outcome=Outcome.NOT_SENT))
    assert (part.due, part.sent) == (1, 0)
    assert [*part.broken_off(1.0)] == []


def test_what_was_in_flight_is_unfinished_and_what_follows_is_not_sent() -> None:
    part = share()
    part.started(1, 0, 1, 0.4)
    found = [*part.broken_off(2.0)]
    assert [(item.step, item.outcome) for item in found] == [
        (0, Outcome.UNFINISHED),
        (1, Outcome.NOT_SENT),
    ]
    assert found[0].intended_seconds == 0.4
    assert [*part.broken_off(3.0)] == []


def test_a_start_between_two_steps_is_not_sent_from_the_next_one_on() -> None:
    part = share()
    part.started(1, 0, 1, 0.4)
    part.ended(Sample(1, 0, 1, 0.4, done_seconds=0.5))
    (found,) = part.broken_off(2.0)
    assert (found.step, found.outcome, found.intended_seconds) == (1, Outcome.NOT_SENT, 2.0)


def test_a_start_that_is_over_leaves_nothing() -> None:
    part = share()
    for step in (0, 1):
        part.started(1, step, 1, 0.4 + step)
        part.ended(Sample(1, step, 1, 0.4 + step, done_seconds=0.5 + step))
    assert [*part.broken_off(2.0)] == []
    assert (part.due, part.sent) == (1, 1)


def test_nobody_s_start_has_a_sample_for_each_step() -> None:
    part = share()
    start = next(item for item in part.rest() if item.profile == 1)
    found = [*part.not_sent(start, 0.0)]
    assert [item.step for item in found] == [0, 1]
    assert {item.outcome for item in found} == {Outcome.NOT_SENT}
    assert all(item.done_seconds == item.intended_seconds for item in found)
