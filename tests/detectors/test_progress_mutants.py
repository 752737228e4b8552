"""detectors.progress, where mutants lived: figures, four silent requests, blind stretches (H8)."""

from __future__ import annotations

import pytest

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding
from detectors.progress import REFUSED, TIMED_OUT, ProgressWatch, Route, judge_lag

CHAT = Route("chat", "front", 1.0)


def watch_with(answers: int = 0, at: float = 0.0) -> ProgressWatch:
    """A second for each request so far; its answer takes 0.2 s."""
    watch = ProgressWatch([CHAT])
    for index in range(answers):
        watch.started("chat", -index, at + index)
        watch.ended("chat", -index, at + index + 0.2)
    return watch


def only(watch: ProgressWatch, now: float) -> Finding:
    (found,) = watch.check(now)
    return found


def test_a_pass_has_its_figures() -> None:
    watch = watch_with(3)
    watch.started("chat", 9, 3.0)
    figures = {"sent": 4, "answered": 3, "longest_seconds": 0.5, "blind_seconds": 0.0}
    text = "expected no request older than 30 s, got 0.5 s at most (3 of 4 answered)"
    assert only(watch, 3.5) == Finding("progress", "front/chat", PASSED, text, None, figures)


def test_no_answer_yet_is_not_judged() -> None:
    watch = watch_with()
    watch.started("chat", 1, 7.0)
    watch.started("chat", 2, 8.0)
    figures = {"sent": 2, "answered": 0, "longest_seconds": 2.0, "blind_seconds": 0.0}
    text = "expected an answer, got none of 2 requests so far"
    assert only(watch, 9.0) == Finding("progress", "front/chat", NOT_JUDGED, text, None, figures)


def test_a_clock_that_goes_back_says_from_where() -> None:
    watch = watch_with(1)
    assert only(watch, 5.0).outcome == PASSED
    assert only(watch, 5.0).outcome == PASSED
    assert only(watch, 4.5).detail == "expected a clock at 5 s or later, got 4.5 s"


def silent(refused: int = 0, timed_out: int = 0, sent: int = 4, first: float = 0.0) -> Finding:
    """After an answer: requests a second apart that get none, looked at 31 s after the first."""
    watch = watch_with(1, first - 1)
    ends = [REFUSED] * refused + [TIMED_OUT] * timed_out
    for index in range(sent):
        watch.started("chat", index + 1, first + index)
        if index < len(ends):
            watch.ended("chat", index + 1, first + index + 0.5, ends[index])
    for second in range(sent, 30):
        assert only(watch, first + second).outcome == PASSED
    assert only(watch, first + 30.0).outcome == PASSED
    return only(watch, first + 31.0)


def test_four_silent_requests_are_a_deadlock_with_its_figures() -> None:
    figures = {"sent": 5, "answered": 1, "longest_seconds": 31.0, "blind_seconds": 0.0}
    figures |= {"in_flight": 4, "silent_sent": 4, "silent_refused": 0}
    text = "deadlock: expected an answer within 30 s, got none of 4 requests answered in 31.0 s"
    assert silent() == Finding("deadlock", "front/chat", FAILED, text, 31.0, figures)


def test_three_silent_requests_are_a_hang_of_the_oldest() -> None:
    found = silent(sent=3)
    assert found.detail == (
        "hang: expected an answer within 30 s, got a request in flight for 31.0 s"
    )
    assert (found.detector, found.subject, found.at_seconds) == ("hang", "front/chat", 31.0)


def test_half_of_them_refused_is_a_deadlock_and_more_is_unreachable() -> None:
    assert silent(refused=2).detector == "deadlock"
    found = silent(refused=3)
    assert (found.detector, found.figures["silent_refused"]) == ("unreachable", 3)
    assert found.figures["in_flight"] == 1


def test_a_request_that_was_given_up_waits_no_longer() -> None:
    found = silent(timed_out=4)
    assert (found.detector, found.figures["longest_seconds"]) == ("deadlock", 0.5)


def test_an_answer_ends_the_silence_of_older_requests_only_where_none_is_left() -> None:
    watch = watch_with()
    for number in range(5):
        watch.started("chat", number, 0.0)
    watch.ended("chat", 4, 1.0)
    for second in range(2, 31):
        assert only(watch, float(second)).outcome == PASSED
    found = only(watch, 31.0)
    assert (found.detector, found.figures["silent_sent"]) == ("deadlock", 4)


def test_an_end_that_nobody_began_is_of_a_run_before() -> None:
    watch = watch_with(1)
    watch.ended("chat", 99, 1.0)
    assert only(watch, 1.5).figures["answered"] == 2


def walk(watch: ProgressWatch, begin: float, end: float) -> Finding:
    found = only(watch, begin)
    while begin < end:
        begin = min(begin + 1, end)
        found = only(watch, begin)
    return found


@pytest.mark.parametrize("first", [0.0, 1000.0])
def test_half_of_the_time_unwatched_is_the_most_that_passes(first: float) -> None:
    watch = watch_with(1, first)
    walk(watch, first + 0.2, first + 1)
    assert only(watch, first + 11.5).figures["blind_seconds"] == 10.5
    assert walk(watch, first + 11.5, first + 20.5).outcome == NOT_JUDGED
    found = only(watch, first + 20.75)
    assert (found.outcome, found.detail) == (NOT_JUDGED, "nobody watched for 10.5 s")
    assert only(watch, first + 21.0).outcome == PASSED


def test_exactly_the_blind_limit_was_watched() -> None:
    watch = watch_with()
    watch.started("chat", 1, 0.0)
    assert only(watch, 5.0).figures["blind_seconds"] == 0
    assert only(watch, 10.25).figures["blind_seconds"] == 5.25


def test_a_failure_after_a_blind_stretch_has_the_time_of_the_clock() -> None:
    watch = watch_with(40)
    for index in range(4):
        watch.started("chat", index + 1, 50.0 + index)
    found = walk(watch, 53.0, 81.0)
    assert (found.detector, found.at_seconds) == ("deadlock", 81.0)
    assert found.figures["blind_seconds"] == pytest.approx(10.8)


@pytest.mark.parametrize(
    ("sent", "late", "outcome"),
    [
        (0, 0, NOT_JUDGED),
        (1, 0, PASSED),
        (1000, 1, PASSED),
        (1000, 2, NOT_JUDGED),
        (999, 1, NOT_JUDGED),
        (9, -1, NOT_JUDGED),
    ],
)
def test_a_sender_that_is_late_more_than_once_in_a_thousand_measures_nothing(
    sent: int, late: int, outcome: str
) -> None:
    text = (
        "expected at most 0.1% of requests over 0.1 s late, "
        f"got {late} of {sent} (the worst by 0.250 s)"
    )
    figures = {"sent": sent, "late": late, "worst_seconds": 0.25}
    assert judge_lag("sender", sent, late, 0.25) == Finding(
        "scheduler_lag", "sender", outcome, text, None, figures
    )
