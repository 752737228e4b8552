"""detectors.spikes, where mutants lived: factors and scatter at their limits, exact words (H8)."""

from __future__ import annotations

import math
from statistics import median

import pytest

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding
from detectors.spikes import LatencyWindow, judge_drift, judge_spikes, windows_of

ABOVE = 1 + 1e-9


def windows(p95: list[float], first: float = 0.0, count: int = 30) -> list[LatencyWindow]:
    return [LatencyWindow(first + 300.0 * index, count, value) for index, value in enumerate(p95)]


def judge(*p95: float) -> Finding:
    return judge_spikes("a/b", windows([*p95]))


FLAT = [1.0] * 12


def test_a_pass_has_its_figures() -> None:
    text = (
        "expected fewer than 3 windows over 3 times the p95 so far, "
        "got 1 of 16; the worst stood at 4.00 times"
    )
    found = judge(*FLAT, 1, 4, 1, 2)
    assert found.figures == pytest.approx({"windows": 16, "spikes": 1, "worst_factor": 4})
    assert (found.detector, found.subject, found.outcome) == ("spikes", "a/b", PASSED)
    assert (found.detail, found.at_seconds) == (text, None)


def test_what_never_rises_stands_at_one() -> None:
    assert judge(*FLAT, 1, 1, 1, 1).figures["worst_factor"] == 1


def test_fifteen_windows_are_too_few() -> None:
    text = "expected at least 16 windows of 300 s with 30 samples or more, got 15 of 16"
    rows = [*windows([*FLAT, 1, 1, 1]), LatencyWindow(4500, 29, 1.0)]
    assert judge_spikes("a/b", rows) == Finding(
        "spikes", "a/b", NOT_JUDGED, text, None, {"windows": 15}
    )


def test_the_thirteenth_window_is_the_first_that_is_judged() -> None:
    """Four raised ones at once: the first of them belongs to the row."""
    base = [0.1 * 1.01**index for index in range(12)]
    found = judge(*base, 0.2, 0.21, 0.22, 0.23)
    baseline = math.exp(median(map(math.log, [*base, 0.2, 0.21, 0.22])))
    figures = {"windows": 4, "baseline_p95_seconds": baseline, "lowest_p95_seconds": 0.2}
    assert found.figures == pytest.approx(figures)
    assert (found.detector, found.subject, found.outcome) == ("spikes", "a/b", FAILED)
    assert found.at_seconds == 16 * 300
    assert found.detail == (
        "expected a p95 below 1.5 times 107.2 ms, got 200.0 ms or more in 4 windows in a row "
        "(from 3600, 3900, 4200, 4500 s)"
    )


def test_three_spikes_are_named_with_the_p95_so_far() -> None:
    """An even number of windows came before the third: the middle is between two of them."""
    base = [0.1 * 1.01**index for index in range(12)]
    found = judge(*base, 0.9, 0.9, 0.8, 0.1)
    baseline = math.exp(median(map(math.log, [*base, 0.9, 0.9])))
    assert found.figures == pytest.approx(
        {"windows": 3, "baseline_p95_seconds": baseline, "lowest_p95_seconds": 0.8}
    )
    assert found.detail == (
        f"expected a p95 below 3 times {baseline * 1000:.1f} ms, got 800.0 ms or more "
        "in 3 windows in all (from 3600, 3900, 4200 s)"
    )


def test_exactly_one_and_a_half_times_is_no_rise() -> None:
    assert judge(*FLAT, *[1.5] * 4).outcome == PASSED
    assert judge(*FLAT, *[1.5 * ABOVE] * 4).outcome == FAILED


def test_exactly_three_times_is_no_spike() -> None:
    assert judge(*FLAT, 3, 1, 3, 1, 3).outcome == PASSED
    assert judge(*FLAT, *[3 * ABOVE, 1] * 3).outcome == FAILED


def scattered(step: float) -> list[float]:
    """Every window stands so many logs above or below the one before; so is the middle."""
    return [math.exp(step * abs(2 - index % 4)) for index in range(40)]


@pytest.mark.parametrize(("steps", "outcome"), [(2.6, PASSED), (2.65, FAILED)])
def test_a_rise_is_over_two_and_a_half_deviations(steps: float, outcome: str) -> None:
    """A step of normal scatter is √2 deviations; 2.5 of them are 2.62 steps from the middle."""
    high = math.exp(0.5 * (1 + steps))
    assert judge(*scattered(0.5), *[high] * 4).outcome == outcome


@pytest.mark.parametrize(("steps", "outcome"), [(5.2, PASSED), (5.3, FAILED)])
def test_a_spike_is_over_five_deviations(steps: float, outcome: str) -> None:
    high = math.exp(0.5 * (1 + steps))
    once = [*scattered(0.5), high]
    assert judge(*once, *once, *once).outcome == outcome


@pytest.mark.parametrize(
    ("distance", "outcome"), [(300, FAILED), (450, FAILED), (451, PASSED), (600, PASSED)]
)
def test_a_row_ends_where_a_window_is_missing(distance: float, outcome: str) -> None:
    rows = windows([*[1.0] * 20, 2, 2])
    rows += windows([2, 2], rows[-1].begin_seconds + distance)
    rows += windows([1.0] * 4, rows[-1].begin_seconds + 300)
    assert judge_spikes("a/b", rows).outcome == outcome


def test_no_latency_is_a_latency() -> None:
    assert windows_of([0, 1], [0.0, -1.0], 300) == [LatencyWindow(0, 2, math.inf)]
    assert windows_of([0], [0.0], 300) == [LatencyWindow(0, 1, 0.0)]


def test_of_200_samples_the_190th_is_the_p95() -> None:
    latencies = [float(index) for index in range(1, 201)]
    assert windows_of([0.0] * 200, latencies, 300)[0].p95_seconds == 190


def test_a_sample_without_a_latency_is_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        windows_of([0, 1], [0.1], 300)


def hours(values: list[float], at: list[int] | None = None) -> list[LatencyWindow]:
    positions = at or list(range(5, 5 + len(values)))
    pairs = zip(positions, values, strict=True)
    return [LatencyWindow(3600.0 * position, 30, value) for position, value in pairs]


def drift(values: list[float], at: list[int] | None = None) -> Finding:
    return judge_drift("a/b", hours(values, at), window_seconds=3600)


def growing(growth: float, count: int = 24) -> list[float]:
    return [0.1 * (1 + growth) ** (index / count) for index in range(count)]


def test_a_drift_has_its_figures() -> None:
    """An exact exponential: 30 % in a day, the second half at the same pace."""
    found = drift(growing(0.3))
    error = 1.4826 * math.log(1.3) / 24 / math.sqrt(2) * math.sqrt(12 / 24)
    assert found.figures == pytest.approx(
        {
            "points": 24,
            "growth_ratio": 0.3,
            "tau": 1.0,
            "second_half_ratio": 0.3,
            "standard_error_ratio": math.expm1(error),
        }
    )
    assert (found.detector, found.subject, found.outcome) == ("drift", "a/b", FAILED)
    assert found.at_seconds == 29 * 3600
    assert found.detail == (
        "expected the p95 to grow by at most 20%, got +30.0% ± 0.8% in 86,400 s (tau 1.00 of 0.6)"
    )


def test_little_drift_passes_with_the_same_words() -> None:
    found = drift(growing(0.19))
    assert (found.detector, found.subject, found.outcome) == ("drift", "a/b", PASSED)
    assert found.at_seconds == 29 * 3600
    assert found.figures["growth_ratio"] == pytest.approx(0.19)
    assert found.detail.startswith("expected the p95 to grow by at most 20%, got +19.0% ± 0.5% in")


def zigzag(step: float, count: int = 24) -> list[float]:
    return [0.1 * math.exp(step * (index % 2)) for index in range(count)]


# Twice the standard error of 24 hours that differ by this much is the limit.
HIDES = math.log(1.2) / 2 / (1.4826 / math.sqrt(2) * math.sqrt(12 / 24))


def test_scatter_hides_a_drift_where_two_errors_are_the_limit() -> None:
    assert drift(zigzag(0.99 * HIDES)).outcome == PASSED
    found = drift(zigzag(1.01 * HIDES))
    assert (found.detector, found.subject, found.outcome) == ("drift", "a/b", NOT_JUDGED)
    assert found.at_seconds == 29 * 3600
    assert found.figures["points"] == 24
    assert found.detail.startswith("expected the p95 to grow by at most 20%, got")
    assert found.detail.endswith(": too few samples to tell")


def test_the_second_half_rises_by_half_of_the_limit_or_it_has_ended() -> None:
    for share, outcome in ((0.45, PASSED), (0.55, FAILED)):
        late = math.log(1.2) * share / 24
        logs = [0.04 * index for index in range(13)]
        logs += [logs[-1] + late * index for index in range(1, 12)]
        assert drift([0.1 * math.exp(value) for value in logs]).outcome == outcome


def test_a_tau_at_its_limit_is_not_steady() -> None:
    """Fours that fall, each after the other: 24 of 120 pairs fall, so tau is 0.6."""
    order = [4 * (index // 4) + 3 - index % 4 for index in range(16)]
    places = [*range(15), 23]
    found = drift([0.1 * math.exp(0.05 * place) for place in order], at=places)
    assert found.figures["tau"] == 0.6
    assert (found.figures["growth_ratio"] or 0) > 0.2
    assert (found.figures["second_half_ratio"] or 0) > 0.2
    assert found.outcome != FAILED
    order[0], order[1] = order[1], order[0]
    assert drift([0.1 * math.exp(0.05 * place) for place in order], at=places).outcome == FAILED


def test_twelve_points_over_a_day_are_enough() -> None:
    places = [*range(5, 16), 28]
    flat = [0.1] * 12
    assert drift(flat, at=places).outcome == PASSED
    text = "expected 12 points over at least 86400 s, got 11 over 86400 s"
    assert drift(flat[1:], at=[*places[1:-1], 29]) == Finding(
        "drift", "a/b", NOT_JUDGED, text, None, {"points": 11}
    )
    assert drift(flat, at=[*places[:-1], 27]).detail == (
        "expected 12 points over at least 86400 s, got 12 over 82800 s"
    )


def test_no_window_is_no_point() -> None:
    text = "expected 12 points over at least 86400 s, got 0 over 0 s"
    rows = [LatencyWindow(row.begin_seconds, 29, 1.0) for row in hours([0.1] * 24)]
    for given in ([], rows):
        assert judge_drift("a/b", given, window_seconds=3600) == Finding(
            "drift", "a/b", NOT_JUDGED, text, None, {"points": 0}
        )
