"""detectors.leak, where mutants lived: limits to the byte, windows' ends, the span (H8)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding
from detectors.leak import growth_per_request, judge_leak

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLES = 16
FLAT = [100.0] * 6


def stairs(troughs: Sequence[float], samples: int = SAMPLES) -> list[float]:
    """As many samples of each level, one window each."""
    return [level for level in troughs for _ in range(samples)]


def ticks(count: int, first: float = 0.0) -> list[float]:
    return [first + index for index in range(count)]


def judge(troughs: Sequence[float], samples: int = SAMPLES) -> Finding:
    values = stairs(troughs, samples)
    return judge_leak("a", ticks(len(values)), values, window_seconds=samples)


def test_a_leak_has_all_its_figures() -> None:
    """The first half rises by 10 bytes a window, the second by 5: the pairs' median is 8.33."""
    found = judge([100, 110, 120, 130, 135, 140])
    pace = 25 / 3
    level = 110 - pace  # the median of what is left without the slope
    assert found.figures == pytest.approx(
        {
            "windows": 6,
            "growth_ratio": 6 * pace / level,
            "tau": 1.0,
            "second_half_ratio": 30 / level,
            "growth_bytes": 50.0,
            "bytes_per_unit": pace / 16,
            "first_trough_bytes": 100,
            "last_trough_bytes": 140,
        }
    )
    assert (found.detector, found.subject, found.outcome) == ("leak", "a", FAILED)
    assert found.at_seconds == 95
    assert found.detail == (
        "expected growth of at most 5% in 96 s, got +49.18% (tau 1.00 of 0.6, "
        "at the pace of the second half +29.51%)"
    )


def test_growth_by_requests_says_so() -> None:
    values = stairs([100, 102, 104, 106, 108, 110])
    seconds, requests = ticks(96), [3.0 * index for index in range(96)]
    found = growth_per_request("a", seconds, requests, values, window_requests=48)
    assert (found.detector, found.subject, found.outcome) == ("growth_per_request", "a", FAILED)
    assert found.figures["bytes_per_unit"] == pytest.approx(2 / 48)
    assert found.at_seconds == 95
    assert "in 288 requests, got +12.00%" in found.detail


@pytest.mark.parametrize(
    ("troughs", "outcome"),
    [
        ([120, 121, 122, 123, 124, 125], PASSED),  # 6 of 120: exactly 5 %
        ([119, 120, 121, 122, 123, 124], FAILED),
        ([100, 105, 110, 110.1, 110.2, 110.3], PASSED),  # warm-up: the second half stands
        ([100, 100.1, 100.2, 100.3, 102, 104], PASSED),  # young growth: too little so far
    ],
)
def test_growth_steadiness_and_a_second_half_that_rises_together_are_a_leak(
    troughs: list[float], outcome: str
) -> None:
    assert judge(troughs).outcome == outcome


def test_a_tau_at_its_limit_is_not_steady() -> None:
    found = judge([120, 110, 100, 130, 140, 150])
    assert (found.figures["tau"], found.outcome) == (0.6, PASSED)
    assert (found.figures["growth_ratio"] or 0) > 0.05
    assert (found.figures["second_half_ratio"] or 0) > 0.04
    assert judge([110, 120, 100, 130, 140, 150]).outcome == FAILED


def test_twelve_samples_make_a_window_and_eleven_do_not() -> None:
    rising = [100, 110, 120, 130, 140, 150]
    assert judge(rising, 12).outcome == FAILED
    found = judge(rising, 11)
    assert found == Finding(
        "leak",
        "a",
        NOT_JUDGED,
        "expected at least 6 complete windows of 11 s without a gap, "
        "got 6, one with 11 of 12 samples",
        None,
        {"windows": 0},
    )


def test_five_windows_are_too_few() -> None:
    assert judge(FLAT[1:]) == Finding(
        "leak",
        "a",
        NOT_JUDGED,
        "expected at least 6 complete windows of 16 s without a gap, got 5",
        None,
        {"windows": 5},
    )


def test_a_sample_stands_for_the_distance_to_the_next() -> None:
    values = stairs(FLAT, 12)
    exact = [index * 1.0 for index in range(72)]
    short = [index * 0.9999 for index in range(72)]
    assert judge_leak("a", exact, values, window_seconds=12).outcome == PASSED
    assert judge_leak("a", short, values, window_seconds=12).figures == {"windows": 5}


def test_two_samples_stand_for_two_distances() -> None:
    detail = judge_leak("a", [0, 100], [1.0, 1.0], window_seconds=100).detail
    assert detail.endswith("got 2, one with 1 of 12 samples")


def test_one_sample_is_no_window() -> None:
    for found in (
        judge_leak("a", [5], [1.0], window_seconds=10),
        growth_per_request("a", [5], [9], [1.0], window_requests=10),
    ):
        assert (found.outcome, found.figures) == (NOT_JUDGED, {"windows": 0})


def test_no_sample_is_not_judged() -> None:
    text = "none of 0 samples has a value: expected a rising clock and bytes"
    assert judge_leak("a", [], []) == Finding("leak", "a", NOT_JUDGED, text)


@pytest.mark.parametrize(("requests", "outcome"), [(41, PASSED), (40, NOT_JUDGED)])
def test_a_count_of_requests_may_stand_but_not_fall(requests: float, outcome: str) -> None:
    """Sample 41 is asked after number 40; where it says 40 nothing was answered in between."""
    counts = [float(index) for index in range(96)]
    counts[42] = requests
    assert growth_per_request("a", ticks(96), counts, stairs(FLAT), window_requests=16) == (
        growth_per_request("a", ticks(96), ticks(96), stairs(FLAT), window_requests=16)
        if outcome == PASSED
        else Finding(
            "growth_per_request",
            "a",
            NOT_JUDGED,
            "the count of requests fell: expected a rising clock and bytes",
        )
    )


def test_a_value_of_nothing_is_left_out_wherever_the_clock_begins() -> None:
    values = [0.0 if index % SAMPLES == 3 else value for index, value in enumerate(stairs(FLAT))]
    found = judge_leak("a", ticks(96, 1000.0), values, window_seconds=16)
    assert (found.outcome, found.figures["first_trough_bytes"]) == (PASSED, 100)


def test_values_below_one_are_values() -> None:
    """Whatever the unit is: a series in megabytes may begin below one."""
    values = stairs([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert judge_leak("a", ticks(96), values, window_seconds=16).outcome == FAILED
    values[5] = math.nan
    assert judge_leak("a", ticks(96), values, window_seconds=16).outcome == FAILED


LONG, SHORT = stairs([100.0] * 7), stairs([200.0] * 6)


@pytest.mark.parametrize("long_first", [True, False])
def test_the_longest_span_passes_for_the_whole(long_first: bool) -> None:  # noqa: FBT001
    """Each sample belongs to the span on its own side of the hole."""
    pieces = (LONG, SHORT) if long_first else (SHORT, LONG)
    first = len(pieces[0])
    seconds = ticks(first) + ticks(len(pieces[1]), first + 1000.0)
    found = judge_leak("a", seconds, pieces[0] + pieces[1], window_seconds=16)
    assert (found.outcome, found.figures["windows"]) == (PASSED, 7)
    assert (found.figures["first_trough_bytes"], found.figures["growth_ratio"]) == (100, 0)
    assert found.at_seconds == (first - 1 if long_first else seconds[-1])


def test_a_failed_span_names_itself_and_its_end() -> None:
    rising = stairs([100, 110, 120, 130, 140, 150])
    seconds = ticks(96) + ticks(112, 2000.0)
    found = judge_leak("a", seconds, rising + LONG, window_seconds=16)
    assert (found.outcome, found.at_seconds, found.subject) == (FAILED, 95, "a")


def test_a_hole_ends_a_span_and_a_step_as_long_as_a_gap_does_not() -> None:
    values = stairs(FLAT)
    seconds = [10.0 * index + (1000 if index >= 96 else 0) for index in range(192)]
    whole = values + values
    for found in (
        judge_leak("a", seconds, whole, window_seconds=160, gap_seconds=10),
        growth_per_request("a", seconds, ticks(192), whole, window_requests=16, gap_seconds=10),
    ):
        assert (found.outcome, found.figures["windows"]) == (PASSED, 6)
    joined = growth_per_request(
        "a", seconds, ticks(192), whole, window_requests=16, gap_seconds=1010
    )
    assert joined.figures["windows"] == 12


def test_a_hole_is_more_than_five_sample_distances() -> None:
    for hole, windows in ((5.0, 12), (5.1, 6)):
        seconds = ticks(96) + ticks(96, 95 + hole)
        found = judge_leak("a", seconds, stairs(FLAT) * 2, window_seconds=16)
        assert found.figures["windows"] == windows
