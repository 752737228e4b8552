"""Simulated p95 of five-minute windows: slow drift, rises, spikes, and plain noise.

Latency is lognormal. The p95 of n independent samples is drawn at once, from the distances
between the largest of n (Rényi's representation): as exact as n samples, and much quicker.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

from detectors.simulation import BOTH, FAULTY, HEALTHY, HOURS, Kind, wave
from detectors.spikes import LatencyWindow, judge_drift, judge_spikes, window_seconds_for

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from detectors.finding import Finding

    Shape = Callable[[random.Random, int], list[float]]

SECONDS = HOURS * 3600
MEDIAN_SECONDS = 0.05
EXECUTOR, SESSION = 0.25, 1 / 300  # requests a second: the rarest routes of gate 2
NORMAL = NormalDist()


def latency_kinds() -> list[Kind]:
    """Both detectors on every healthy kind, each on its own faults."""
    healthy: list[tuple[str, Shape, float]] = [
        ("p95 without a change, 0.25 requests/s", _flat, EXECUTOR),
        ("p95 without a change, one request in 5 minutes", _flat, SESSION),
        ("p95 slow at first (3 times, 20 minutes)", _slow_first, EXECUTOR),
        ("p95 in a daily wave of 20 %", _daily, EXECUTOR),
        ("p95 that wanders by 5 % within hours", _wander, EXECUTOR),
        ("p95 in 1 to 3 steps down", _steps_down, EXECUTOR),
        ("p95 with two lone spikes of 5 times", _lone_spikes, EXECUTOR),
    ]
    rows: list[tuple[str, str, str, Shape, float]] = [
        (detector, name, HEALTHY, shape, rate)
        for detector in ("spikes", "drift")
        for name, shape, rate in healthy
        if not (detector == "drift" and rate == SESSION)
    ]
    rows += [
        ("spikes", "p95 twice as high for an hour", FAULTY, _rise, EXECUTOR),
        ("spikes", "p95 4 times as high every 6 h for 5 minutes", FAULTY, _periodic, EXECUTOR),
        ("drift", "p95 drifts up by 50 % in 48 h", FAULTY, _drift, EXECUTOR),
        ("drift", "p95 without a change, one request in 5 minutes", BOTH, _flat, SESSION),
        ("drift", "p95 drifts up by 50 %, one request in 5 minutes", BOTH, _drift, SESSION),
    ]
    return [
        Kind(detector, name, expected, _looks(detector, shape, rate))
        for detector, name, expected, shape, rate in rows
    ]


def _looks(
    detector: str, shape: Shape, per_second: float
) -> Callable[[random.Random], Iterator[Finding]]:
    length = window_seconds_for(per_second)
    samples, count = round(per_second * length), int(SECONDS / length)

    def looks(dice: random.Random) -> Iterator[Finding]:
        factors, spread = shape(dice, count), dice.uniform(0.2, 0.7)
        windows = [
            LatencyWindow(index * length, samples, factor * _p95(dice, samples, spread))
            for index, factor in enumerate(factors)
        ]
        if detector == "spikes":  # what it found once, it finds at every later look
            yield judge_spikes("simulated", windows, window_seconds=length)
            return
        for hours in range(24, HOURS + 1, 12):
            seen = [window for window in windows if window.begin_seconds < hours * 3600]
            yield judge_drift("simulated", seen, window_seconds=length)

    return looks


def _p95(dice: random.Random, samples: int, spread: float) -> float:
    above = samples - -(-samples * 95 // 100)
    depth = sum(dice.expovariate(samples - index) for index in range(above + 1))
    # 1 - share, so that the far end of the distribution keeps its digits.
    return MEDIAN_SECONDS * math.exp(-spread * NORMAL.inv_cdf(-math.expm1(-depth)))


def _flat(_dice: random.Random, count: int) -> list[float]:
    return [1.0] * count


def _slow_first(_dice: random.Random, count: int) -> list[float]:
    return [1 + 2 * math.exp(-index / 4) for index in range(count)]


def _daily(dice: random.Random, count: int) -> list[float]:
    factors = wave(dice, 0.2)
    return [factors[index * len(factors) // count] for index in range(count)]


def _wander(dice: random.Random, count: int) -> list[float]:
    """A first-order autoregression that forgets within an hour."""
    keep = math.exp(-1 / 12)
    value, factors = dice.gauss(0, 0.05), []
    for _ in range(count):
        value = keep * value + dice.gauss(0, 0.05 * math.sqrt(1 - keep * keep))
        factors.append(math.exp(value))
    return factors


def _steps_down(dice: random.Random, count: int) -> list[float]:
    moments = [dice.randrange(count) for _ in range(dice.randint(1, 3))]
    return [0.8 ** sum(index > moment for moment in moments) for index in range(count)]


def _lone_spikes(dice: random.Random, count: int) -> list[float]:
    factors = [1.0] * count
    for index in dice.sample(range(count), 2):
        factors[index] = 5.0
    return factors


def _rise(dice: random.Random, count: int) -> list[float]:
    begin = dice.randrange(24, count - 12)
    return [2.0 if begin <= index < begin + 12 else 1.0 for index in range(count)]


def _periodic(dice: random.Random, count: int) -> list[float]:
    phase = dice.randrange(72)
    return [4.0 if index % 72 == phase else 1.0 for index in range(count)]


def _drift(_dice: random.Random, count: int) -> list[float]:
    return [1 + 0.5 * index / count for index in range(count)]
