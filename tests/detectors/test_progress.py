"""detectors.progress: no answers are found, however healthy the system says it is."""

from __future__ import annotations

import pytest

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding
from detectors.progress import REFUSED, TIMED_OUT, ProgressWatch, Route, judge_lag

CHAT, RARE = Route("chat", "front", 1.0), Route("rare", "front", 300.0)


class Clock:
    """One request a second on `chat`, each followed by a check; the world under the watch."""

    def __init__(self, *routes: Route) -> None:
        self.watch = ProgressWatch(routes or [CHAT])
        self.now = 0.0
        self.sent = 0

    def answered(self, seconds: int) -> Finding:
        return self._run(seconds, "answered", 0.1)

    def silent(self, seconds: int) -> Finding:
        return self._run(seconds, None, 0)

    def ends(self, seconds: int, outcome: str) -> Finding:
        return self._run(seconds, outcome, 0.5)

    def _run(self, seconds: int, outcome: str | None, after: float) -> Finding:
        for _ in range(seconds):
            self.sent += 1
            self.watch.started("chat", self.sent, self.now)
            if outcome:
                self.watch.ended("chat", self.sent, self.now + after, outcome)
            self.now += 1
            found = self.watch.check(self.now)
        return found[0]


def test_answers_pass_with_the_longest_wait() -> None:
    found = Clock().answered(60)
    assert found.outcome == PASSED
    assert found.figures["answered"] == 60
    assert found.figures["longest_seconds"] == pytest.approx(0.1)


def test_a_deadlock_is_found_after_half_a_minute_by_service_and_route() -> None:
    clock = Clock()
    clock.answered(60)
    assert clock.silent(30).outcome == PASSED
    found = clock.silent(1)
    assert (found.outcome, found.detector, found.subject) == (FAILED, "deadlock", "front/chat")
    assert found.at_seconds == 91
    assert "none of 31 requests answered in 31.0 s" in found.detail


def test_time_outs_of_the_sender_hide_no_deadlock() -> None:
    clock = Clock()
    clock.answered(10)
    found = clock.ends(40, TIMED_OUT)
    assert (found.outcome, found.detector) == (FAILED, "deadlock")


def test_refused_connections_are_no_progress_and_no_deadlock() -> None:
    clock = Clock()
    clock.answered(10)
    found = clock.ends(40, REFUSED)
    assert (found.outcome, found.detector) == (FAILED, "unreachable")


def test_one_request_that_hangs_is_found_while_others_are_answered() -> None:
    clock = Clock()
    clock.watch.started("chat", -1, 0.0)
    assert clock.answered(30).outcome == PASSED
    found = clock.answered(1)
    assert (found.outcome, found.detector) == (FAILED, "hang")
    assert "in flight for 3" in found.detail


def test_a_hang_that_ends_before_the_check_still_counts() -> None:
    watch = ProgressWatch([CHAT], blind_seconds=100)
    watch.started("chat", 1, 0.0)
    watch.ended("chat", 1, 45.0)
    assert watch.check(46.0)[0].outcome == FAILED


def test_what_failed_once_stays_failed() -> None:
    clock = Clock()
    clock.answered(5)
    clock.silent(40)
    assert clock.answered(60).outcome == FAILED


def test_a_short_stall_passes() -> None:
    clock = Clock()
    clock.answered(5)
    clock.silent(20)
    for number in range(6, 26):
        clock.watch.ended("chat", number, clock.now)
    found = clock.answered(60)
    assert found.outcome == PASSED
    assert found.figures["longest_seconds"] == pytest.approx(20)


def test_an_idle_route_does_not_hang() -> None:
    watch = ProgressWatch([RARE])
    watch.started("rare", 1, 0.0)
    watch.ended("rare", 1, 0.2)
    for second in range(1, 301):
        assert watch.check(float(second))[0].outcome == PASSED


def test_a_rare_route_needs_more_than_one_time_out() -> None:
    watch = ProgressWatch([RARE], blind_seconds=400)
    watch.started("rare", 0, 0.0)
    watch.ended("rare", 0, 0.1)
    outcomes = []
    for number in range(1, 7):
        watch.started("rare", number, number * 300.0)
        watch.ended("rare", number, number * 300.0 + 10, TIMED_OUT)
        outcomes.append(watch.check(number * 300.0 + 20)[0].outcome)
    assert outcomes == [PASSED, PASSED, PASSED, PASSED, FAILED, FAILED]


def test_routes_are_judged_alone() -> None:
    clock = Clock(CHAT, RARE)
    clock.answered(5)
    found = {one.subject: one.outcome for one in clock.watch.check(clock.now)}
    assert found == {"front/chat": PASSED, "front/rare": NOT_JUDGED}


def test_a_route_without_an_answer_yet_is_not_judged() -> None:
    assert ProgressWatch([CHAT]).check(0.0)[0].outcome == NOT_JUDGED
    assert Clock().silent(5).outcome == NOT_JUDGED


def test_a_suspended_machine_is_no_hang() -> None:
    """An hour passed, and nobody watched: neither the answer nor the check is late."""
    clock = Clock()
    clock.answered(4000)
    clock.watch.started("chat", -1, clock.now)
    clock.now += 3600
    clock.watch.ended("chat", -1, clock.now)
    found = clock.answered(10)
    assert found.outcome == PASSED
    assert found.figures["blind_seconds"] == pytest.approx(3600, abs=2)


def test_a_hang_after_a_suspension_is_found() -> None:
    clock = Clock()
    clock.answered(10)
    clock.now += 3600
    assert clock.silent(40).outcome == FAILED


def test_a_watch_that_mostly_did_not_watch_is_not_judged() -> None:
    watch = ProgressWatch([CHAT])
    for minute in range(10):
        watch.started("chat", minute, minute * 60.0)
        watch.ended("chat", minute, minute * 60.0 + 0.1)
        found = watch.check(minute * 60.0 + 1)[0]
    assert found.outcome == NOT_JUDGED
    assert "nobody watched" in found.detail


def test_a_clock_that_goes_back_is_not_judged() -> None:
    clock = Clock()
    clock.answered(10)
    found = clock.watch.check(3.0)[0]
    assert found.outcome == NOT_JUDGED
    assert "expected a clock at 10 s or later, got 3 s" in found.detail


def test_wrong_use_is_a_bug() -> None:
    with pytest.raises(ValueError, match="routes"):
        ProgressWatch([])
    with pytest.raises(ValueError, match="routes"):
        ProgressWatch([CHAT, CHAT])
    with pytest.raises(ValueError, match="outcome"):
        ProgressWatch([CHAT]).ended("chat", 1, 0.0, "ok")


@pytest.mark.parametrize(
    ("sent", "late", "outcome"),
    [(0, 0, NOT_JUDGED), (1000, 1, PASSED), (1000, 2, NOT_JUDGED), (10, 1, NOT_JUDGED)],
)
def test_a_late_sender_leaves_latency_not_judged(sent: int, late: int, outcome: str) -> None:
    assert judge_lag("sender", sent, late, 0.5).outcome == outcome
