"""Pieces, gaps and spans: only what was observed without a gap counts as one span."""

from __future__ import annotations

from dataclasses import replace

import pytest

from soak.duration import duration, duration_text
from soak.spans import Piece, gaps_of, is_whole, longest_span_seconds, observed_seconds, spans_of

KEYS: dict[str, str | None] = {"front": "1@a", "jobs": "2@a"}


def piece(number: int, begin: float, end: float, **changes: object) -> Piece:
    values = {"boot_id": "boot", "services": KEYS, "services_end": KEYS, **changes}
    return Piece(number, begin, end, **values)  # type: ignore[arg-type]


def test_one_piece_is_one_span_without_a_gap() -> None:
    pieces = [piece(1, 0, 100)]
    assert gaps_of(pieces) == []
    assert (observed_seconds(pieces), longest_span_seconds(pieces)) == (100, 100)


def test_nothing_observed_is_no_span() -> None:
    assert (observed_seconds([]), longest_span_seconds([]), gaps_of([])) == (0, 0, [])


def test_the_longest_span_is_not_the_sum() -> None:
    pieces = [piece(1, 0, 100), piece(2, 130, 190)]
    assert observed_seconds(pieces) == 160
    assert longest_span_seconds(pieces) == 100


def test_waiting_for_the_last_answers_makes_up_for_no_gap() -> None:
    """Observed, but without traffic: 4 s that were asked for are not 3.9 s and a wait."""
    pieces = [piece(1, 0, 0.1), piece(2, 1, 6, traffic_end_seconds=4.9)]
    assert longest_span_seconds(pieces) == pytest.approx(3.9)
    assert observed_seconds(pieces) == pytest.approx(4.0)
    early = [piece(1, 0, 9, traffic_end_seconds=5, sleeps=((6, 7),))]
    assert longest_span_seconds(early) == 5
    # Killed, or interrupted, while it waited: what was asked for ended at 1,200 s.
    for traffic_end in (None, 1220):
        slept = piece(1, 0, 1220, traffic_end_seconds=traffic_end, sleeps=((1, 16),))
        assert longest_span_seconds([replace(slept, asked_end_seconds=1200)]) == 1184


def test_a_piece_that_ended_before_its_first_request_takes_nothing_away() -> None:
    assert spans_of([piece(1, 0, 0.5, traffic_end_seconds=0)]) == []


def test_a_break_of_any_length_is_one() -> None:
    """A thousandth of 48 hours would be almost three minutes."""
    assert is_whole(172_800, 172_800)
    assert is_whole(172_799.999_9, 172_800)
    assert not is_whole(172_799.9, 172_800)


def test_a_gap_between_the_same_services_is_unobserved() -> None:
    (gap,) = gaps_of([piece(1, 0, 100), piece(2, 130, 190)])
    assert (gap.begin_seconds, gap.end_seconds, gap.kind) == (100, 130, "unobserved")
    assert "the same services ran on" in gap.why


def test_a_gap_with_another_service_is_restarted() -> None:
    later = piece(2, 130, 190, services={**KEYS, "jobs": "9@b"})
    (gap,) = gaps_of([piece(1, 0, 100), later])
    assert (gap.kind, gap.why) == ("restarted", "restarted: jobs")


def test_a_gap_with_another_boot_is_restarted() -> None:
    (gap,) = gaps_of([piece(1, 0, 100), piece(2, 130, 190, boot_id="other")])
    assert (gap.kind, gap.why) == ("restarted", "the machine was booted")


def test_services_that_cant_be_seen_are_not_said_to_have_run_on() -> None:
    unseen: dict[str, str | None] = dict.fromkeys(KEYS)
    (gap,) = gaps_of([piece(1, 0, 100, services_end=unseen), piece(2, 130, 190)])
    assert gap.kind == "unobserved"
    assert "can't be seen" in gap.why


def test_a_service_is_compared_with_its_last_identity_not_its_first() -> None:
    """One that was restarted while it was watched is a finding, not a gap."""
    moved: dict[str, str | None] = {**KEYS, "jobs": "9@b"}
    (gap,) = gaps_of([piece(1, 0, 100, services_end=moved), piece(2, 130, 190, services=moved)])
    assert gap.kind == "unobserved"


def test_sleep_splits_a_piece() -> None:
    pieces = [piece(1, 0, 100, sleeps=((40, 70),))]
    assert spans_of(pieces) == [(0, 40), (70, 100)]
    assert longest_span_seconds(pieces) == 40
    assert [gap.kind for gap in gaps_of(pieces)] == ["unobserved"]


def test_gaps_come_in_the_order_of_time() -> None:
    pieces = [piece(1, 0, 100), piece(2, 130, 190, sleeps=((140, 150),)), piece(3, 200, 210)]
    assert [gap.begin_seconds for gap in gaps_of(pieces)] == [100, 140, 190]


def test_a_clock_that_was_set_back_makes_no_negative_gap() -> None:
    (gap,) = gaps_of([piece(1, 0, 100), piece(2, 90, 190)])
    assert gap.begin_seconds == gap.end_seconds == 100


@pytest.mark.parametrize(
    ("text", "seconds"), [("48h", 172_800), ("20m", 1200), ("90s", 90), ("7d", 604_800)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "48", "h", "0s", "-1h", "1e3s", "48 h", "367d", "nans"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(Exception, match="expected a time such as 48h"):
        duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(172_800, "48 h"), (1200, "20 min"), (90, "90 s"), (604_800, "7 d"), (86400, "24 h")],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
