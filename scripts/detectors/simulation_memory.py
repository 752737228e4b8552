"""Simulated memory of a service: what a leak looks like, and what only resembles one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from detectors.leak import MINIMUM_WINDOWS, WINDOW_SECONDS, judge_leak
from detectors.simulation import BOTH, FAULTY, HEALTHY, MINUTES, Kind, wave

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from detectors.finding import Finding

    Shape = Callable[[random.Random], list[float]]

BYTES = 100e6
SECONDS = [minute * 60.0 for minute in range(MINUTES)]
WINDOW_MINUTES = int(WINDOW_SECONDS / 60)


def memory_kinds() -> list[Kind]:
    """Flat, warm-up, sawtooth, daily wave, steps; and leaks in each."""
    rows: list[tuple[str, str, tuple[Shape, ...], float]] = [
        ("flat, noise 1 %", HEALTHY, (), 0.01),
        ("flat, noise 3 %", HEALTHY, (), 0.03),
        ("warm-up of 20 % (time constant 0.3 to 6 h)", HEALTHY, (_warm_up,), 0.01),
        ("sawtooth of a garbage collector", HEALTHY, (_sawtooth,), 0.01),
        ("warm-up of 20 % in a sawtooth", HEALTHY, (_warm_up, _sawtooth), 0.01),
        ("daily wave of 2 to 10 %", HEALTHY, (_daily,), 0.01),
        ("1 to 4 steps down", HEALTHY, (_steps_down,), 0.01),
        ("leak of 8 % in 48 h", FAULTY, (_leak,), 0.01),
        ("leak of 8 %, noise 3 %", FAULTY, (_leak,), 0.03),
        ("leak of 8 % in a sawtooth", FAULTY, (_leak, _sawtooth), 0.01),
        ("leak of 8 % with warm-up of 20 %", FAULTY, (_leak, _warm_up), 0.01),
        ("leak of 8 % in a daily wave of 2 to 10 %", BOTH, (_leak, _daily), 0.01),
        ("one step up of 8 %", BOTH, (_step_up,), 0.01),
        ("warm-up of 20 % (time constant 6 to 9 h)", BOTH, (_slow_warm_up,), 0.01),
    ]
    return [
        Kind("leak", name, expected, _looks(shapes, noise))
        for name, expected, shapes, noise in rows
    ]


def _looks(shapes: tuple[Shape, ...], noise: float) -> Callable[[random.Random], Iterator[Finding]]:
    """Judged at each complete window from the first that can be judged."""

    def looks(dice: random.Random) -> Iterator[Finding]:
        gauss = dice.gauss
        values = [BYTES * gauss(1, noise) for _ in range(MINUTES)]
        for shape in shapes:
            values = [value * factor for value, factor in zip(values, shape(dice), strict=True)]
        first = MINIMUM_WINDOWS * WINDOW_MINUTES
        for end in range(first, MINUTES + 1, WINDOW_MINUTES):
            yield judge_leak("simulated", SECONDS[:end], values[:end])

    return looks


def _leak(_dice: random.Random) -> list[float]:
    return [1 + 0.08 * minute / MINUTES for minute in range(MINUTES)]


def _warm_up(dice: random.Random, shortest: float = 0.3, longest: float = 6.0) -> list[float]:
    """From 1/1.2 to 1."""
    minutes = dice.uniform(shortest, longest) * 60
    return [1 - (1 - 1 / 1.2) * math.exp(-minute / minutes) for minute in range(MINUTES)]


def _slow_warm_up(dice: random.Random) -> list[float]:
    return _warm_up(dice, 6.0, 9.0)


def _sawtooth(dice: random.Random) -> list[float]:
    """Up by 10 to 40 % and back, every 12 minutes to 5.5 hours."""
    minutes, height, phase = dice.uniform(12, 330), dice.uniform(0.1, 0.4), dice.random()
    return [1 + height * ((minute / minutes + phase) % 1) for minute in range(MINUTES)]


def _daily(dice: random.Random) -> list[float]:
    return wave(dice, dice.uniform(0.02, 0.10))


def _steps_down(dice: random.Random) -> list[float]:
    height = dice.uniform(0.03, 0.1)
    moments = [dice.uniform(0, MINUTES) for _ in range(dice.randint(1, 4))]
    return [1 - height * sum(minute > moment for moment in moments) for minute in range(MINUTES)]


def _step_up(dice: random.Random) -> list[float]:
    moment = dice.uniform(120, MINUTES - 120)
    return [1.08 if minute > moment else 1.0 for minute in range(MINUTES)]
