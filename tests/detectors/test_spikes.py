"""detectors.spikes: rises that last, spikes that come again and slow drift; not noise."""

from __future__ import annotations

import math

import pytest

from detectors.finding import FAILED, NOT_JUDGED, PASSED
from detectors.spikes import (
    LatencyWindow,
    judge_drift,
    judge_spikes,
    window_seconds_for,
    windows_of,
)


def windows(p95: list[float], count: int = 75) -> list[LatencyWindow]:
    """Five minutes each, with a little noise."""
    return [
        LatencyWindow(300.0 * index, count, value * (1 + 0.05 * math.sin(index * index)))
        for index, value in enumerate(p95)
    ]


FLAT = [0.1] * 576


def test_steady_windows_pass() -> None:
    found = judge_spikes("a/b", windows(FLAT))
    assert found.outcome == PASSED
    assert found.figures["spikes"] == 0


def test_four_windows_in_a_row_over_one_and_a_half_times_fail() -> None:
    found = judge_spikes("a/b", windows([*FLAT[:100], *[0.18] * 4, *FLAT[104:]]))
    assert found.outcome == FAILED
    assert found.at_seconds == 104 * 300
    assert "4 windows in a row (from 30000, 30300, 30600, 30900 s)" in found.detail


def test_three_in_a_row_and_then_again_pass() -> None:
    raised = [0.18] * 3
    assert (
        judge_spikes("a/b", windows([*FLAT[:50], *raised, 0.1, *raised, *FLAT])).outcome == PASSED
    )


def test_a_row_does_not_reach_over_a_gap() -> None:
    rows = windows([*FLAT[:100], *[0.18] * 4, *FLAT[:10]])
    moved = [
        LatencyWindow(row.begin_seconds + 7200 * (index >= 102), row.count, row.p95_seconds)
        for index, row in enumerate(rows)
    ]
    assert judge_spikes("a/b", rows).outcome == FAILED
    assert judge_spikes("a/b", moved).outcome == PASSED


def test_the_third_spike_fails_and_two_pass() -> None:
    spiky = list(FLAT)
    spiky[100] = spiky[200] = 0.4
    assert judge_spikes("a/b", windows(spiky)).outcome == PASSED
    spiky[300] = 0.4
    found = judge_spikes("a/b", windows(spiky))
    assert found.outcome == FAILED
    assert "in all (from 30000, 60000, 90000 s)" in found.detail


def test_a_slow_start_is_no_spike() -> None:
    assert judge_spikes("a/b", windows([*[0.5] * 6, *FLAT])).outcome == PASSED


def test_windows_with_too_few_samples_say_nothing() -> None:
    bad = windows([*FLAT[:100], *[0.9] * 10], count=29)
    assert judge_spikes("a/b", bad).outcome == NOT_JUDGED
    assert judge_spikes("a/b", [*windows(FLAT[:100]), *bad[100:]]).outcome == PASSED


@pytest.mark.parametrize("count", [0, 1, 15])
def test_too_few_windows_are_not_judged(count: int) -> None:
    found = judge_spikes("a/b", windows(FLAT[:count]))
    assert found.outcome == NOT_JUDGED
    assert (
        f"expected at least 16 windows of 300 s with 30 samples or more, got {count}"
        in found.detail
    )


def test_unanswered_requests_are_slower_than_any() -> None:
    rows = windows_of([1.0, 2.0, 3.0], [0.1, math.nan, 0.2], 300)
    assert rows == [LatencyWindow(0, 3, math.inf)]
    dead = [
        *windows(FLAT[:50]),
        *(LatencyWindow(300.0 * index, 75, math.inf) for index in range(50, 60)),
    ]
    found = judge_spikes("a/b", dead)
    assert found.outcome == FAILED
    assert found.as_json()["figures"]["lowest_p95_seconds"] is None


def test_windows_are_exact_and_in_order() -> None:
    latencies = [index / 1000 for index in range(1, 101)]
    seconds = [300 + 299 * index / 100 for index in range(100)]
    rows = windows_of([*reversed(seconds), 10.0], [*latencies, 5.0], 300)
    assert rows == [LatencyWindow(0, 1, 5.0), LatencyWindow(300, 100, 0.095)]
    assert windows_of([], [], 300) == []


@pytest.mark.parametrize(
    ("rate", "seconds"), [(1.0, 300), (0.25, 300), (0.05, 600), (1 / 300, 9000)]
)
def test_a_rare_route_has_longer_windows(rate: float, seconds: float) -> None:
    assert window_seconds_for(rate) == seconds


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="per_second"):
        window_seconds_for(rate)


def drifting(growth: float) -> list[float]:
    return [0.1 * (1 + growth * index / 576) for index in range(576)]


def test_a_slow_drift_fails_with_its_size() -> None:
    found = judge_drift("a/b", windows(drifting(0.5)))
    assert found.outcome == FAILED
    assert found.figures["growth_ratio"] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("growth", [0.0, 0.1, -0.3])
def test_little_or_falling_drift_passes(growth: float) -> None:
    assert judge_drift("a/b", windows(drifting(growth))).outcome == PASSED


def test_a_rise_that_ended_is_no_drift() -> None:
    assert judge_drift("a/b", windows([*drifting(1.0)[:288], *[0.15] * 288])).outcome == PASSED


@pytest.mark.parametrize("count", [0, 1, 12, 275])
def test_drift_needs_a_day(count: int) -> None:
    found = judge_drift("a/b", windows(drifting(5)[:count]))
    assert found.outcome == NOT_JUDGED
    assert "at least 86400 s" in found.detail


def test_scatter_that_hides_a_drift_is_not_judged() -> None:
    wild = [0.1 * math.exp(2 * math.sin(index * index * 7.3)) for index in range(24)]
    rows = [LatencyWindow(3600.0 * index, 75, value) for index, value in enumerate(wild)]
    found = judge_drift("a/b", rows, window_seconds=3600)
    assert found.outcome == NOT_JUDGED
    assert "too few samples to tell" in found.detail
