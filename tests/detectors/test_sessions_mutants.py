"""detectors.sessions, where mutants lived: each session's number, and texts as read (H8)."""

from __future__ import annotations

import pytest

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding
from detectors.sessions import SessionWatch

AT = 1000.0


def watch_with(*numbers: int, at: float = AT) -> SessionWatch:
    """Sessions that were used for half a second and went a quarter after that."""
    watch = SessionWatch("front/session")
    for number in numbers:
        watch.create_asked(number, at)
        watch.created(number, at + 0.1)
        watch.destroy_asked(number, at + 0.5)
        watch.destroyed(number, at + 0.6)
        watch.gone(number, at + 0.75)
    return watch


def figures(begun: int, ended: int, **more: float) -> dict[str, float | int | None]:
    longest = 0.25 if ended else 0.0
    counts = {"begun": begun, "ended": ended, "open": begun - ended, "longest_seconds": longest}
    return {**counts, "stuck": 0, "overdue": 0, **more}


def test_a_pass_has_its_figures() -> None:
    text = "expected each session gone within 60 s, got 0.2 s at most for 2"
    watch = watch_with(1, 2)
    for _ in range(2):  # the same second twice is no clock that goes back
        assert watch.check(AT + 1) == Finding(
            "stuck_session", "front/session", PASSED, text, None, figures(2, 2)
        )


def test_a_clock_that_goes_back_says_from_where() -> None:
    watch = watch_with(1)
    watch.check(AT + 2)
    text = "expected a clock at 1002 s or later, got 1001 s"
    assert watch.check(AT + 1) == Finding(
        "stuck_session", "front/session", NOT_JUDGED, text, None, figures(1, 1)
    )


def test_without_a_session_that_ended_nothing_is_judged() -> None:
    watch = SessionWatch("front/session")
    for number in range(3):
        watch.create_asked(number, AT)
    text = "expected a session that is gone, got none of 3 so far"
    assert watch.check(AT + 30) == Finding(
        "stuck_session", "front/session", NOT_JUDGED, text, None, figures(3, 0)
    )


def test_a_stuck_session_is_one_line_with_its_number() -> None:
    watch = watch_with(1)
    watch.create_asked(7, AT + 1)
    assert watch.check(AT + 31).outcome == PASSED
    text = "expected no stuck session, got 1: session 7: create not answered for 30.5 s"
    assert watch.check(AT + 31.5) == Finding(
        "stuck_session", "front/session", FAILED, text, AT + 31.5, figures(2, 1, stuck=1)
    )


def stuck(watch: SessionWatch) -> str:
    found = watch.check(AT + 200)
    assert found.outcome == FAILED
    return found.detail.removeprefix("expected no stuck session, got ")


def test_an_answer_that_came_too_late_names_its_session() -> None:
    watch = watch_with(1)
    watch.create_asked(7, AT)
    watch.created(7, AT + 31)
    watch.destroy_asked(7, AT + 32)
    watch.gone(7, AT + 33)
    assert stuck(watch) == "1: session 7: create not answered for 31.0 s"


def test_a_refusal_that_came_too_late_names_its_session() -> None:
    watch = watch_with(1)
    watch.create_asked(7, AT)
    watch.refused(7, AT + 31)
    assert stuck(watch) == "1: session 7: create not answered for 31.0 s"


def test_a_session_that_went_too_late_is_named() -> None:
    watch = watch_with(1)
    watch.create_asked(7, AT)
    watch.created(7, AT + 1)
    watch.destroy_asked(7, AT + 2)
    watch.destroyed(7, AT + 3)
    watch.gone(7, AT + 62.5)
    assert stuck(watch) == "1: session 7: not gone 60.5 s after its end was asked for"


def test_a_refused_end_is_answered() -> None:
    """It is not asked for again within the limit: only that it goes matters now."""
    watch = watch_with(1)
    watch.create_asked(7, AT)
    watch.created(7, AT + 1)
    watch.destroy_asked(7, AT + 2)
    watch.refused(7, AT + 3)
    assert watch.check(AT + 50).outcome == PASSED
    assert stuck(watch) == "1: session 7: not gone 198.0 s after its end was asked for"


@pytest.mark.parametrize(("count", "more"), [(5, ""), (6, " and 1 more")])
def test_five_stuck_sessions_are_named(count: int, more: str) -> None:
    watch = SessionWatch("a")
    for number in range(count):
        watch.create_asked(number, AT + 160)
    whys = [f"session {number}: create not answered for 40.0 s" for number in range(5)]
    assert stuck(watch) == f"{count}: {'; '.join(whys)}{more}"


def test_a_session_is_overdue_by_its_own_age() -> None:
    """One that went was used for half a second: so long, and the limit, another may be open."""
    watch = watch_with(1)
    watch.create_asked(7, AT)
    watch.created(7, AT + 1)
    assert watch.check(AT + 60.5).outcome == PASSED
    text = "expected the end of each session asked for, got 1: session 7: open for 61.0 s"
    assert watch.check(AT + 61) == Finding(
        "stuck_session", "front/session", NOT_JUDGED, text, None, figures(2, 1, overdue=1)
    )
