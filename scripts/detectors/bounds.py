"""What a pass may claim: exact bounds, printed beside it (95 % unless told).

Nothing failed in 2,160 checks is not "never fails": the rate is below 0.14 %. All of it is
exact (binomial and Poisson), no normal approximation, and needs no package.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIDENCE = 0.95
_STEPS, _EXACT = 200, 1e-8


def failure_rate_below(trials: int, confidence: float = CONFIDENCE) -> float:
    """With no failure in that many trials, the rate of failures is below this.

    Raises:
        ValueError: no trials show nothing.

    Source:
        The exact "rule of three": 0 of 2,160 → 0.14 %; 10 of 10 cycles → 26 % a cycle.
    """
    if trials < 1:
        raise ValueError(f"trials: expected at least 1, got {trials}")
    return -math.expm1(math.log1p(-confidence) / trials)


def success_rate_above(trials: int, confidence: float = CONFIDENCE) -> float:
    """With every trial a success, the rate of successes is above this (5 of 5 → 55 %)."""
    return 1 - failure_rate_below(trials, confidence)


def trials_to_show(rate: float, confidence: float = CONFIDENCE) -> int:
    """How many trials without a failure show that the rate is at most this (0.5 % → 598).

    Raises:
        ValueError: a rate that no number of trials can show.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate: expected a number between 0 and 1, got {rate!r}")
    return math.ceil(math.log1p(-confidence) / math.log1p(-rate))


def mean_time_between_failures_above(
    hours: float, failures: int = 0, confidence: float = CONFIDENCE
) -> float:
    """The hours between failures are more than this (48 h without one → 16 h).

    Raises:
        ValueError: no time, or a negative count.
    """
    if not 0 < hours < math.inf or failures < 0:
        raise ValueError(f"expected hours above 0 and no negative count, got {hours}, {failures}")
    most = _solve(lambda mean: 1 - _poisson_below(failures, mean), confidence, 10 + 4 * failures)
    return hours / most


def interval_of(failures: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The Clopper-Pearson interval of a ratio: it covers the true one at least that often.

    Raises:
        ValueError: no trials, or more failures than trials.
    """
    if trials < 1 or not 0 <= failures <= trials:
        raise ValueError(f"expected 0 to {trials} failures of at least 1 trial, got {failures}")
    tail = (1 - confidence) / 2
    low = _solve(lambda rate: binomial_tail(failures, trials, rate), tail, 1) if failures else 0.0
    if failures == trials:
        return low, 1.0
    return low, _solve(lambda rate: binomial_tail(failures + 1, trials, rate), 1 - tail, 1)


def binomial_tail(least: int, trials: int, rate: float) -> float:
    """The chance of at least that many of so many trials at that rate."""
    if least <= 0:
        return 1.0
    if least > trials or rate <= 0:
        return 0.0
    return 1.0 if rate >= 1 else _incomplete_beta(least, trials - least + 1, rate)


def no_failure_text(trials: int) -> str:
    """A pass without a failure, with what it shows."""
    percent = _two_digits(failure_rate_below(trials) * 100, math.ceil)
    return f"0 of {trials:,} failed: the rate is below {percent:g} % (95 %)"


def no_restart_text(hours: float) -> str:
    """A run without a restart, with what it shows."""
    least = _two_digits(mean_time_between_failures_above(hours), math.floor)
    return f"no restart in {hours:g} h: more than {least:g} h between restarts (95 %)"


def _two_digits(value: float, towards: Callable[[float], int]) -> float:
    """Rounded to the side that claims less."""
    scale = 10.0 ** (1 - math.floor(math.log10(value)))
    return towards(round(value * scale, 9)) / scale


def _solve(rising: Callable[[float], float], wanted: float, above: float) -> float:
    """Where a function that rises from 0 reaches a value; `above` is where it has passed it."""
    low, high = 0.0, float(above)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if high - low <= _EXACT * high:
            break
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2


def _poisson_below(most: int, mean: float) -> float:
    """The chance of at most so many events, where `mean` are expected."""
    if mean <= 0:
        return 1.0
    logs = (count * math.log(mean) - mean - math.lgamma(count + 1) for count in range(most + 1))
    return math.fsum(map(math.exp, logs))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function: the distribution behind both bounds."""
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    # The fraction converges quickly on this side of the mean; the other side is its mirror.
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, 1 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction by Lentz's method (Numerical Recipes, 6.4)."""
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    result = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            result *= c * d
        if abs(c * d - 1) < 1e-13:  # noqa: PLR2004 - about as exact as a double is
            return result
    raise ArithmeticError(f"no convergence: incomplete beta of {a}, {b}, {x}")
