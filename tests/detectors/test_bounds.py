"""detectors.bounds: the figures of the field notes, and exactness against sums."""

from __future__ import annotations

import math

import pytest

from detectors.bounds import (
    binomial_tail,
    failure_rate_below,
    interval_of,
    mean_time_between_failures_above,
    no_failure_text,
    no_restart_text,
    success_rate_above,
    trials_to_show,
)


def test_the_bounds_of_the_field_notes() -> None:
    assert failure_rate_below(2160) == pytest.approx(0.00138595, rel=1e-5)
    assert failure_rate_below(10) == pytest.approx(0.2589, abs=1e-4)
    assert success_rate_above(5) == pytest.approx(0.5493, abs=1e-4)
    assert mean_time_between_failures_above(48) == pytest.approx(16.02, abs=0.01)


def test_texts_never_claim_more_than_was_shown() -> None:
    assert no_failure_text(2160) == "0 of 2,160 failed: the rate is below 0.14 % (95 %)"
    assert no_restart_text(48) == "no restart in 48 h: more than 16 h between restarts (95 %)"
    for trials in (1, 7, 59, 299, 1000, 2992, 302_400):
        said = float(no_failure_text(trials).split("below ")[1].split()[0])
        assert said >= failure_rate_below(trials) * 100


def test_failures_lower_the_time_between_them() -> None:
    """2T/χ²: two failures in 48 h are 96 h over 12.592."""
    assert mean_time_between_failures_above(48, 2) == pytest.approx(96 / 12.5916, rel=1e-4)


@pytest.mark.parametrize("rate", [0.005, 0.001, 0.3])
def test_as_many_trials_as_needed_and_no_more(rate: float) -> None:
    enough = trials_to_show(rate)
    assert failure_rate_below(enough) <= rate < failure_rate_below(enough - 1)


@pytest.mark.parametrize(
    ("least", "trials", "rate"), [(1, 1, 0.5), (3, 20, 0.001), (5, 600, 0.001), (590, 600, 0.97)]
)
def test_the_binomial_tail_is_the_sum(least: int, trials: int, rate: float) -> None:
    terms = (
        math.comb(trials, count) * rate**count * (1 - rate) ** (trials - count)
        for count in range(least, trials + 1)
    )
    assert binomial_tail(least, trials, rate) == pytest.approx(math.fsum(terms), rel=1e-9)


def test_edges_of_the_binomial_tail() -> None:
    assert binomial_tail(0, 10, 0.0) == 1
    assert binomial_tail(1, 10, 0.0) == 0
    assert binomial_tail(11, 10, 0.5) == 0
    assert binomial_tail(10, 10, 1.0) == 1


@pytest.mark.parametrize(("failures", "trials"), [(0, 200), (3, 200), (200, 200), (1, 1)])
def test_an_interval_ends_where_each_tail_is_2_5_percent(failures: int, trials: int) -> None:
    low, high = interval_of(failures, trials)
    assert 0 <= low <= failures / trials <= high <= 1
    if failures:
        assert binomial_tail(failures, trials, low) == pytest.approx(0.025, rel=1e-4)
    if failures < trials:
        assert 1 - binomial_tail(failures + 1, trials, high) == pytest.approx(0.025, rel=1e-4)


def test_an_interval_of_a_whole_soak() -> None:
    low, high = interval_of(1512, 302_400)
    assert (round(low, 6), round(high, 6)) == (0.004752, 0.005258)


@pytest.mark.parametrize("trials", [0, -1])
def test_no_trials_show_nothing(trials: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        failure_rate_below(trials)
    with pytest.raises(ValueError, match="expected"):
        interval_of(0, trials)


@pytest.mark.parametrize("hours", [0, -1, math.inf, math.nan])
def test_no_time_shows_nothing(hours: float) -> None:
    with pytest.raises(ValueError, match="expected hours"):
        mean_time_between_failures_above(hours)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        interval_of(3, 2)
    with pytest.raises(ValueError, match="expected"):
        trials_to_show(0)
