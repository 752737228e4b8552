"""detectors.trend, where mutants lived: exact figures of the fewest points (H8)."""

from __future__ import annotations

import math

import pytest

from detectors.trend import kendall_tau, level_at_start, scatter_of, slope_of


def test_two_points_are_enough() -> None:
    assert slope_of([1, 3], [10, 14]) == 2
    assert (kendall_tau([1, 2]), kendall_tau([2, 1]), kendall_tau([1, 1])) == (1, -1, 0)


def test_one_point_is_refused_with_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"^a slope: expected two points, got 1$"):
        slope_of([1], [1])
    with pytest.raises(ValueError, match=r"^tau: expected two values, got 1$"):
        kendall_tau([1])


def test_the_level_is_that_of_the_first_position_wherever_it_stands() -> None:
    assert level_at_start([100, 101, 103], [7, 9, 13], 2) == 7


def test_a_value_without_a_position_is_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        slope_of([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="zip"):
        level_at_start([1, 2], [1, 2, 3], 1)


def test_scatter_is_the_deviation_of_a_normal_distribution() -> None:
    """A step is the difference of two values, so it scatters by √2 as much as one."""
    assert scatter_of([0, 1, 0, 1]) == pytest.approx(1.4826 / math.sqrt(2))
