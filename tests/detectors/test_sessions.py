"""detectors.sessions: a stuck session is named, whichever step it is stuck in."""

from __future__ import annotations

import pytest

from detectors.finding import FAILED, NOT_JUDGED, PASSED
from detectors.sessions import SessionWatch


def watch_with(*numbers: int, at: float = 0.0) -> SessionWatch:
    """Sessions that came and went as they should."""
    watch = SessionWatch("front/session")
    for number in numbers:
        watch.create_asked(number, at)
        watch.created(number, at + 0.1)
        watch.destroy_asked(number, at + 1)
        watch.destroyed(number, at + 1.1)
        watch.gone(number, at + 2)
    return watch


def test_sessions_that_go_in_time_pass() -> None:
    found = watch_with(1, 2, 3).check(1000.0)
    assert found.outcome == PASSED
    assert found.figures["ended"] == 3
    assert found.figures["longest_seconds"] == pytest.approx(1)


def test_a_session_that_is_not_gone_fails_with_its_number() -> None:
    watch = watch_with(1)
    watch.create_asked(7, 10.0)
    watch.created(7, 10.1)
    watch.destroy_asked(7, 11.0)
    watch.destroyed(7, 11.1)
    assert watch.check(71.0).outcome == PASSED
    found = watch.check(72.0)
    assert found.outcome == FAILED
    assert found.at_seconds == 72
    assert "session 7: not gone 61.0 s after its end was asked for" in found.detail


@pytest.mark.parametrize("step", ["create", "destroy"])
def test_a_step_without_an_answer_fails_with_its_name(step: str) -> None:
    watch = watch_with(1)
    watch.create_asked(7, 10.0)
    if step == "destroy":
        watch.created(7, 10.1)
        watch.destroy_asked(7, 10.0)
    assert watch.check(40.0).outcome == PASSED
    found = watch.check(41.0)
    assert found.outcome == FAILED
    assert f"session 7: {step} not answered for 31.0 s" in found.detail


def test_a_session_that_went_too_late_still_counts() -> None:
    watch = SessionWatch("front/session")
    watch.create_asked(1, 0.0)
    watch.created(1, 0.1)
    watch.destroy_asked(1, 1.0)
    watch.destroyed(1, 1.1)
    watch.gone(1, 100.0)
    assert watch.check(101.0).outcome == FAILED


def test_asking_again_does_not_move_the_limit() -> None:
    watch = watch_with(1)
    watch.create_asked(2, 0.0)
    watch.created(2, 0.1)
    for second in range(1, 70, 10):
        watch.destroy_asked(2, float(second))
        watch.destroyed(2, second + 0.1)
    assert watch.check(70.0).outcome == FAILED


def test_a_refused_creation_is_over() -> None:
    watch = watch_with(1)
    watch.create_asked(2, 0.0)
    watch.refused(2, 0.5)
    found = watch.check(1000.0)
    assert found.outcome == PASSED
    assert found.figures["open"] == 0


def test_a_refused_end_leaves_a_session_that_must_go() -> None:
    watch = watch_with(1)
    watch.create_asked(2, 0.0)
    watch.created(2, 0.1)
    watch.destroy_asked(2, 1.0)
    watch.refused(2, 1.1)
    assert watch.check(100.0).outcome == FAILED


def test_a_refused_heartbeat_leaves_a_session_that_must_go() -> None:
    watch = watch_with(1)
    watch.create_asked(2, 0.0)
    watch.created(2, 0.1)
    watch.refused(2, 0.5)
    assert watch.check(0.6).figures["open"] == 1
    watch.destroy_asked(2, 1.0)
    watch.refused(2, 1.1)
    assert watch.check(100.0).outcome == FAILED


def test_a_long_life_is_not_stuck() -> None:
    watch = SessionWatch("front/session", life_seconds=9_000)
    for number in (1, 2):
        watch.create_asked(number, 0.0)
        watch.created(number, 0.1)
    watch.destroy_asked(1, 1.0)
    watch.gone(1, 1.1)
    assert watch.check(9_060.0).outcome == PASSED
    watch.destroy_asked(2, 9_060.0)
    watch.gone(2, 9_061.0)
    assert watch.check(20_000.0).outcome == PASSED


@pytest.mark.parametrize("life_seconds", [None, 1.0])
def test_sessions_whose_end_was_never_asked_for_are_not_judged(life_seconds: float | None) -> None:
    """Without a given length the sessions that went say how long one is used."""
    watch = SessionWatch("front/session", life_seconds=life_seconds)
    for number in range(499):
        watch.create_asked(number, 0.0)
        watch.created(number, 0.1)
    watch.destroy_asked(0, 1.0)
    watch.gone(0, 1.1)
    assert watch.check(61.0).outcome == PASSED
    found = watch.check(62.0)
    assert found.outcome == NOT_JUDGED
    assert (found.figures["open"], found.figures["overdue"]) == (498, 498)
    assert "498: session 1: open for 62.0 s; session 2" in found.detail
    assert "and 493 more" in found.detail


def test_sessions_without_a_step_that_ends_them_are_overdue_too() -> None:
    """They go by themselves: then their whole life says how long one is used."""
    watch = SessionWatch("front/session")
    for number in (1, 2):
        watch.create_asked(number, 0.0)
        watch.created(number, 0.1)
    watch.gone(1, 20.0)
    assert watch.check(80.0).outcome == PASSED
    assert watch.check(81.0).outcome == NOT_JUDGED


def test_a_stuck_session_is_a_failure_whatever_else_is_overdue() -> None:
    watch = watch_with(1)
    watch.create_asked(2, 0.0)
    watch.created(2, 0.1)
    watch.create_asked(3, 0.0)
    assert watch.check(1000.0).outcome == FAILED


def test_no_session_that_ended_is_not_judged() -> None:
    assert SessionWatch("a").check(0.0).outcome == NOT_JUDGED
    watch = SessionWatch("a")
    watch.create_asked(1, 0.0)
    assert watch.check(1.0).outcome == NOT_JUDGED


def test_a_clock_that_goes_back_is_not_judged() -> None:
    watch = watch_with(1)
    watch.check(100.0)
    assert watch.check(50.0).outcome == NOT_JUDGED


def test_many_stuck_sessions_stay_one_line() -> None:
    watch = SessionWatch("a")
    for number in range(8):
        watch.create_asked(number, 0.0)
    found = watch.check(100.0)
    assert found.figures["stuck"] == 8
    assert "and 3 more" in found.detail


def test_events_of_an_unknown_session_are_of_a_run_before() -> None:
    watch = watch_with(1)
    watch.created(99, 5.0)
    watch.gone(99, 5.0)
    assert watch.check(6.0).outcome == PASSED


def test_a_number_in_use_is_a_bug() -> None:
    watch = SessionWatch("a")
    watch.create_asked(1, 0.0)
    with pytest.raises(ValueError, match="new number"):
        watch.create_asked(1, 1.0)


def test_a_creation_that_the_sender_gave_up_is_not_stuck_and_not_passed() -> None:
    watch = watch_with(1)
    watch.create_asked(2, 10.0)
    watch.given_up(2)
    found = watch.check(10_000.0)
    assert found.outcome == NOT_JUDGED
    assert found.figures["stuck"] == 0
