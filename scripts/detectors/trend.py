"""Robust trends of a few points: Theil-Sen slope, Kendall's tau, scatter.

Pure Python on purpose: a detector sees tens of points (troughs, hourly medians), never
thousands, and numpy would cost every script its start-up time.
"""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Turns a median absolute deviation into the standard deviation of a normal distribution.
MAD_TO_DEVIATION = 1.4826


def slope_of(positions: Sequence[float], values: Sequence[float]) -> float:
    """The median of the slopes of all pairs: up to 29 % of wild points don't move it.

    Raises:
        ValueError: there are not two points at different positions.

    Source:
        P. K. Sen, "Estimates of the regression coefficient based on Kendall's tau", 1968.
    """
    points = zip(positions, values, strict=True)
    slopes = [
        (value - before) / (position - earlier)
        for (earlier, before), (position, value) in combinations(points, 2)
        if position != earlier
    ]
    if not slopes:
        raise ValueError(f"a slope: expected two points, got {len(values)}")
    return median(slopes)


def level_at_start(positions: Sequence[float], values: Sequence[float], slope: float) -> float:
    """Where the line of that slope stands at the first position."""
    first = positions[0]
    return median(
        value - slope * (position - first)
        for position, value in zip(positions, values, strict=True)
    )


def kendall_tau(values: Sequence[float]) -> float:
    """How steadily values rise, from -1 to 1; equal pairs count as neither (tau-a).

    Raises:
        ValueError: fewer than two values.
    """
    count = len(values)
    if count < 2:  # noqa: PLR2004 - a pair
        raise ValueError(f"tau: expected two values, got {count}")
    balance = sum(
        (later > earlier) - (later < earlier) for earlier, later in combinations(values, 2)
    )
    return 2 * balance / (count * (count - 1))


def scatter_of(values: Sequence[float]) -> float:
    """The noise of one value, from the steps between neighbours: a trend is no noise."""
    steps = [later - earlier for earlier, later in pairwise(values)]
    if not steps:
        return math.inf
    return MAD_TO_DEVIATION * median(map(abs, steps)) / math.sqrt(2)
