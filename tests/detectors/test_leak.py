"""detectors.leak: growth that stays is found, and nothing that only resembles it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from detectors.finding import FAILED, NOT_JUDGED, PASSED
from detectors.leak import growth_per_request, judge_leak

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTES = 2880
SECONDS = [60.0 * minute for minute in range(MINUTES)]


def series(factor: Callable[[float], float]) -> list[float]:
    """48 hours; the factor gets the share of them that has passed."""
    return [100e6 * factor(minute / MINUTES) for minute in range(MINUTES)]


LEAK = series(lambda share: 1 + 0.08 * share)
FLAT = series(lambda share: 1 + 0.01 * math.sin(1e6 * share))


def test_a_leak_of_8_percent_fails_with_its_figures() -> None:
    found = judge_leak("a", SECONDS, LEAK)
    assert found.outcome == FAILED
    assert found.figures["growth_ratio"] == pytest.approx(0.08, rel=0.01)
    assert found.figures["windows"] == 8
    assert found.at_seconds == SECONDS[-1]
    assert "expected growth of at most 5%" in found.detail
    assert "+8.0" in found.detail


def test_growth_of_less_than_5_percent_passes() -> None:
    assert judge_leak("a", SECONDS, series(lambda share: 1 + 0.04 * share)).outcome == PASSED


def test_growth_that_came_back_passes() -> None:
    """G2: "without recovery"."""
    recovered = series(lambda share: 1 + (0.2 * share if share < 0.8 else 0))
    assert judge_leak("a", SECONDS, recovered).outcome == PASSED


def test_warm_up_passes() -> None:
    warm = series(lambda share: 1.2 - 0.2 * math.exp(-16 * share))
    assert judge_leak("a", SECONDS, warm).outcome == PASSED


def test_a_minute_short_of_the_last_window_is_not_a_window() -> None:
    assert judge_leak("a", SECONDS[:2160], LEAK[:2160]).outcome == FAILED
    short = judge_leak("a", SECONDS[:2159], LEAK[:2159])
    assert short.outcome == NOT_JUDGED
    assert "expected at least 6 complete windows of 21,600 s" in short.detail
    assert "got 5" in short.detail


@pytest.mark.parametrize("count", [0, 1, 2, 11])
def test_a_few_samples_are_not_judged(count: int) -> None:
    assert judge_leak("a", SECONDS[:count], LEAK[:count]).outcome == NOT_JUDGED


def test_sparse_samples_are_not_judged() -> None:
    """Once an hour can miss every moment after a collection."""
    found = judge_leak("a", SECONDS[::60], LEAK[::60])
    assert found.outcome == NOT_JUDGED
    assert "6 of 12 samples" in found.detail


def test_a_window_never_reaches_over_a_gap() -> None:
    """Two days with a hole in between are two short spans, not one long one."""
    seconds = [at + (0 if at < SECONDS[1440] else 7200) for at in SECONDS]
    found = judge_leak("a", seconds, LEAK)
    assert found.outcome == NOT_JUDGED
    assert found.figures["windows"] == 4
    assert judge_leak("a", seconds, LEAK, gap_seconds=86_400).outcome == FAILED


def test_a_restart_in_a_gap_hides_no_leak() -> None:
    """Each side is judged alone: the leak before the gap counts, however it went on."""
    seconds = SECONDS + [at + SECONDS[-1] + 3600 for at in SECONDS]
    assert judge_leak("a", seconds, LEAK + FLAT).outcome == FAILED
    assert judge_leak("a", seconds, FLAT + LEAK).outcome == FAILED
    assert judge_leak("a", seconds, FLAT + FLAT).outcome == PASSED


def test_a_gap_makes_no_leak_of_two_levels() -> None:
    seconds = SECONDS + [at + SECONDS[-1] + 3600 for at in SECONDS]
    assert judge_leak("a", seconds, FLAT + [value * 1.5 for value in FLAT]).outcome == PASSED


def test_values_that_could_not_be_read_are_left_out() -> None:
    holes = [math.nan if index % 7 == 3 else value for index, value in enumerate(LEAK)]
    assert judge_leak("a", SECONDS, holes).outcome == FAILED


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0])
def test_a_series_without_a_value_is_not_judged(value: float) -> None:
    found = judge_leak("a", SECONDS, [value] * MINUTES)
    assert found.outcome == NOT_JUDGED
    assert "none of 2880 samples" in found.detail


@pytest.mark.parametrize("second", [SECONDS[99], SECONDS[50]])
def test_a_clock_that_stands_or_goes_back_is_not_judged(second: float) -> None:
    seconds = [*SECONDS[:100], second, *SECONDS[101:]]
    found = judge_leak("a", seconds, LEAK)
    assert found.outcome == NOT_JUDGED
    assert "clock did not go forward after 5940 s" in found.detail


def test_more_values_than_times_is_a_bug() -> None:
    with pytest.raises(ValueError, match="as many"):
        judge_leak("a", SECONDS, LEAK[1:])


def test_the_window_may_follow_an_accelerated_clock() -> None:
    quick = [at / 10 for at in SECONDS]
    assert judge_leak("a", quick, LEAK).outcome == NOT_JUDGED
    assert judge_leak("a", quick, LEAK, window_seconds=2160).outcome == FAILED


REQUESTS = [105.0 * minute for minute in range(MINUTES)]


def test_growth_by_requests_is_the_same_at_any_pace() -> None:
    quick = [at / 60 for at in SECONDS]
    found = growth_per_request("a", quick, REQUESTS, LEAK)
    assert found.outcome == FAILED
    assert found.figures["bytes_per_unit"] == pytest.approx(8e6 / 302_400, rel=0.02)
    assert growth_per_request("a", quick, REQUESTS, FLAT).outcome == PASSED


def test_growth_by_too_few_requests_is_not_judged() -> None:
    found = growth_per_request("a", SECONDS, [at / 10 for at in REQUESTS], LEAK)
    assert found.outcome == NOT_JUDGED
    assert "37,800 requests" in found.detail


def test_a_count_of_requests_that_falls_is_not_judged() -> None:
    counts = [*REQUESTS[:100], 0.0, *REQUESTS[101:]]
    found = growth_per_request("a", SECONDS, counts, LEAK)
    assert found.outcome == NOT_JUDGED
    assert "fell" in found.detail
