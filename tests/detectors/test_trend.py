"""detectors.trend: robust against wild points, exact on lines."""

from __future__ import annotations

import math

import pytest

from detectors.trend import kendall_tau, level_at_start, scatter_of, slope_of


def test_a_line_has_its_slope_and_level() -> None:
    positions = [0.0, 2.0, 3.0, 7.0]
    values = [5 + 2 * position for position in positions]
    assert slope_of(positions, values) == 2
    assert level_at_start(positions, values, 2) == 5


def test_one_wild_point_moves_nothing() -> None:
    values = [10.0, 11, 12, 13, 1e9, 15, 16, 17]
    assert slope_of(range(8), values) == pytest.approx(1)
    assert level_at_start(range(8), values, 1) == 10


@pytest.mark.parametrize(
    ("values", "tau"),
    [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], -1.0), ([1, 1, 1], 0.0), ([1, 3, 2], 1 / 3)],
)
def test_tau_says_how_steadily_values_rise(values: list[float], tau: float) -> None:
    assert kendall_tau(values) == pytest.approx(tau)


def test_scatter_does_not_see_a_trend() -> None:
    noisy = [(-1) ** index + 0.001 * index for index in range(100)]
    steep = [value + 0.01 * index for index, value in enumerate(noisy)]
    assert scatter_of(steep) == pytest.approx(scatter_of(noisy), rel=0.02)
    assert scatter_of([0.01 * index for index in range(100)]) < 0.02
    assert scatter_of([1.0]) == math.inf


def test_a_single_point_has_no_trend() -> None:
    with pytest.raises(ValueError, match="expected two"):
        slope_of([1], [1])
    with pytest.raises(ValueError, match="expected two"):
        slope_of([1, 1], [1, 2])
    with pytest.raises(ValueError, match="expected two"):
        kendall_tau([1])
