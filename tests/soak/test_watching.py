"""Single requests as events: which route hangs, which session is stuck, who was late."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from detectors.finding import FAILED, NOT_JUDGED, PASSED
from soak.collector import Collector
from soak.watching import Watching
from traffic.model import Expect, Profile, Step
from traffic.sample import Outcome, Sample


def step(name: str, *, ends: bool = False) -> Step:
    return Step(name, "GET", f"/{name}", {}, (None,), Expect(200), proves_end=ends)


CHAT = Profile("chat", "front", Fraction(1), (step("ask"),))
SESSION = Profile(
    "session",
    "front",
    Fraction(5),
    (step("create"), step("destroy"), step("gone", ends=True)),
    timeout_seconds=4,
)


def sample(
    profile: int, at: float, *, number: int = 0, part: int = 0, outcome: Outcome = Outcome.OK
) -> Sample:
    return Sample(profile, part, number, at, at, done_seconds=at + 0.1, outcome=outcome)


def outcomes(watching: Watching, now: float) -> dict[str, str]:
    return {item.detector: item.outcome for item in watching.check(now)}


def play_session(watching: Watching, *, gone: Outcome = Outcome.OK) -> None:
    """Create, destroy and look for session 0, a second apart."""
    for part, outcome in enumerate((Outcome.OK, Outcome.OK, gone)):
        watching.started(0, part, 0, float(part))
        watching.ended(sample(0, float(part), part=part, outcome=outcome))


def tick(watching: Watching, seconds: int) -> None:
    for now in range(seconds):
        watching.check(now)


def test_a_session_that_goes_is_good() -> None:
    watching = Watching([SESSION])
    play_session(watching)
    assert outcomes(watching, 3.0) == {"progress": PASSED, "stuck_session": PASSED}


def test_a_session_that_is_still_there_is_stuck() -> None:
    watching = Watching([SESSION])
    play_session(watching, gone=Outcome.WRONG)
    assert outcomes(watching, 4.0)["stuck_session"] != FAILED
    assert outcomes(watching, 10.0)["stuck_session"] == FAILED


def test_a_route_without_answers_is_a_deadlock_before_its_time_limit() -> None:
    watching = Watching([CHAT])
    for number in range(10):
        watching.started(0, 0, number, float(number))
    assert "deadlock" not in outcomes(watching, 8.5)
    assert outcomes(watching, 9.5)["deadlock"] == FAILED


def test_a_stall_of_the_whole_machine_is_no_hang_of_the_system() -> None:
    """Seen on a busy machine: nobody ran for 3.7 s, and a limit of 3.6 s said deadlock."""
    impatient = replace(CHAT, timeout_seconds=4)
    watching = Watching([impatient])
    watching.started(0, 0, 0, 0.0)
    watching.ended(sample(0, 0.0))
    for number in range(1, 8):
        watching.started(0, 0, number, 1 + number / 100)
    assert outcomes(watching, 4.8)["progress"] == NOT_JUDGED  # most of it was not watched
    for number in range(1, 8):
        watching.ended(sample(0, 4.8, number=number))
    tick(watching, 20)
    assert outcomes(watching, 20.0)["progress"] == PASSED


def test_a_rare_route_with_a_short_limit_is_watched_between_its_requests() -> None:
    rare = replace(CHAT, interval_seconds=Fraction(5), timeout_seconds=1)
    watching, found = Watching([rare]), {}
    for now in range(60):
        if now % 5 == 0:
            watching.started(0, 0, now, float(now))
            watching.ended(sample(0, float(now), number=now))
        found = outcomes(watching, now + 0.9)
    assert found == {"progress": PASSED}


def test_a_stall_that_was_watched_is_a_hang() -> None:
    watching = Watching([replace(CHAT, timeout_seconds=4)])
    for number in range(7):
        watching.started(0, 0, number, number / 100)
    for now in (1.0, 2.0, 3.0):
        assert "deadlock" not in outcomes(watching, now)
    assert outcomes(watching, 4.1)["deadlock"] == FAILED


def test_each_route_is_watched_alone() -> None:
    """One that answers does not hide one that does not."""
    watching = Watching([CHAT, Profile("action", "front", Fraction(1), (step("act"),))])
    for second in range(11):
        for profile in (0, 1):
            watching.started(profile, 0, second, float(second))
        watching.ended(sample(0, float(second), number=second))
    found = {item.subject: item.outcome for item in watching.check(11.0)}
    assert found == {"front/chat": PASSED, "front/action": FAILED}


def test_requests_that_were_never_sent_are_no_events() -> None:
    watching = Watching([SESSION])
    watching.ended(sample(0, 1.0, outcome=Outcome.NOT_SENT))
    watching.ended(sample(0, 1.0, outcome=Outcome.UNFINISHED))
    assert FAILED not in outcomes(watching, 2.0).values()
    assert watching.first_steps_sent == 0


def test_requests_that_the_generator_was_too_late_for_count_as_its_lag_only() -> None:
    """Not as refused ones: those would make a route unreachable."""
    watching = Watching([CHAT])
    for number in range(20):
        late = sample(0, 1.0, number=number, outcome=Outcome.LATE)
        watching.ended(replace(late, sent_seconds=math.nan, done_seconds=31.0))
    assert FAILED not in outcomes(watching, 40.0).values()
    assert (watching.first_steps_sent, watching.late) == (20, 20)
    assert watching.worst_lag_seconds == 30.0


def test_a_session_whose_end_is_never_asked_for_is_not_judged() -> None:
    watching = Watching([SESSION])
    for number in range(2):
        watching.started(0, 0, number, 0.0)
        watching.ended(sample(0, 0.0, number=number))
    for part in (1, 2):
        watching.started(0, part, 0, float(part))
        watching.ended(sample(0, float(part), part=part))
    assert outcomes(watching, 12.0)["stuck_session"] == PASSED
    assert outcomes(watching, 12.1)["stuck_session"] == NOT_JUDGED


def test_a_request_that_was_given_up_does_not_hang() -> None:
    watching = Watching([CHAT])
    watching.started(0, 0, 0, 0.0)
    watching.ended(sample(0, 1.0, outcome=Outcome.UNFINISHED))
    assert FAILED not in outcomes(watching, 30.0).values()


def test_late_requests_are_counted() -> None:
    watching = Watching([CHAT])
    for lag in (0.0, 0.05, 0.3):
        watching.note_lag(Sample(0, 0, 0, 1.0, 1.0 + lag, done_seconds=2.0))
    assert (watching.first_steps_sent, watching.late) == (3, 1)
    assert round(watching.worst_lag_seconds, 3) == 0.3


class Kept:
    """A journal in memory."""

    def __init__(self) -> None:
        self.samples: list[tuple[Sample, str | None]] = []

    def add(self, sample: Sample, text: str | None = None) -> None:
        self.samples.append((sample, text))


def test_the_collector_knows_what_is_in_flight_and_what_came() -> None:
    kept = Kept()
    collector = Collector([CHAT], kept, Watches(), 0.0)
    for number in range(3):
        collector.on_start(0, 0, number, float(number))
    collector.on_sample(sample(0, 1.0, number=1, outcome=Outcome.ERROR), "refused")
    assert [item.sequence for item in collector.in_flight] == [0, 2]
    assert collector.in_flight[0].as_json() == {
        "profile": "chat",
        "step": "ask",
        "sequence": 0,
        "intended_seconds": 0.0,
    }
    assert (collector.sent, collector.ended, collector.errors) == (3, 1, 1)
    assert kept.samples[0][1] == "refused"


def test_what_is_unfinished_is_neither_good_nor_bad() -> None:
    collector = Collector([CHAT], Kept(), Watches(), 0.0)
    collector.on_sample(sample(0, 1.0, outcome=Outcome.UNFINISHED), None)
    assert (collector.ended, collector.errors) == (0, 0)


def test_earlier_pieces_are_counted_on() -> None:
    collector = Collector([CHAT], Kept(), Watches(), 0.0)
    collector.replay(sample(0, 1.0))
    collector.replay(sample(0, 2.0, outcome=Outcome.NOT_SENT))
    assert (collector.sent, collector.ended, collector.errors) == (1, 2, 1)


def test_a_minute_that_has_hardly_begun_tells_nothing_yet() -> None:
    collector = Collector([CHAT], Kept(), Watches(), 0.0)
    assert collector.telling_minute(1.0) is collector.minute
    over = collector.next_minute(60.0)
    assert collector.telling_minute(61.0) is over
    assert collector.telling_minute(75.0) is collector.minute


class Watches:
    """Detectors that are not asked here."""

    def started(self, profile: int, step: int, sequence: int, at: float) -> None:
        pass

    def ended(self, sample: Sample) -> None:
        pass
