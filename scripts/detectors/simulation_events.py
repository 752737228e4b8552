"""Simulated errors, restarts, stalls and sessions at one look a minute."""

from __future__ import annotations

import math
from itertools import repeat
from typing import TYPE_CHECKING

from detectors.errors import ErrorWindow, judge_bursts, judge_errors
from detectors.progress import ANSWERED, TIMED_OUT, ProgressWatch, Route
from detectors.restarts import Identity, judge_restarts
from detectors.sessions import SessionWatch
from detectors.simulation import FAULTY, HEALTHY, HOURS, MINUTES, Kind, wave

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from detectors.finding import Finding

PER_MINUTE = 105  # 1.75 requests a second
TIMEOUT_SECONDS = 10.0
SECONDS = [minute * 60.0 for minute in range(MINUTES)]


def event_kinds() -> list[Kind]:
    """Errors first, then what happens once."""
    whole, burst = "errors", "error_burst"
    return [
        Kind(whole, "errors at 0.1 %", HEALTHY, _errors(whole, 0.001)),
        Kind(whole, "errors at 0.4 %", HEALTHY, _errors(whole, 0.004)),
        Kind(whole, "errors at 1 % for 48 h", FAULTY, _errors(whole, 0.01)),
        Kind(burst, "errors at 0.02 %", HEALTHY, _errors(burst, 0.0002)),
        Kind(burst, "errors at 0.1 %", HEALTHY, _errors(burst, 0.001)),
        Kind(burst, "errors at 0.4 %", HEALTHY, _errors(burst, 0.004)),
        Kind(burst, "errors at 0.1 % in a daily wave of 50 %", HEALTHY, _errors(burst, 0.001, 0.5)),
        Kind(burst, "errors at 0.1 %, three at a time", HEALTHY, _errors(burst, 0.001, clump=3)),
        Kind(
            burst, "error burst: 1 % for one hour", FAULTY, _errors(burst, 0.0002, burst=(60, 0.01))
        ),
        Kind(
            burst, "error burst: all for one minute", FAULTY, _errors(burst, 0.0002, burst=(1, 1.0))
        ),
        Kind("restart", "5 % of looks see nothing", HEALTHY, _identities(restart=False)),
        Kind("restart", "one restart", FAULTY, _identities(restart=True)),
        Kind("progress", "slow answers, 1 % of requests time out", HEALTHY, _progress(0)),
        Kind("progress", "stall of 10 minutes, then all answered", FAULTY, _progress(10)),
        Kind("progress", "deadlock", FAULTY, _progress(MINUTES)),
        Kind("stuck_session", "576 sessions", HEALTHY, _sessions(stuck=False)),
        Kind("stuck_session", "one of 576 sessions not gone", FAULTY, _sessions(stuck=True)),
    ]


def _errors(
    detector: str,
    ratio: float,
    swing: float = 0.0,
    *,
    clump: int = 1,
    burst: tuple[int, float] = (0, 0.0),
) -> Callable[[random.Random], Iterator[Finding]]:
    """Judged after one day and after two."""

    def looks(dice: random.Random) -> Iterator[Finding]:
        ratios = [ratio * factor for factor in wave(dice, swing)] if swing else [ratio] * MINUTES
        minutes, high = burst
        begin = dice.randrange(MINUTES - minutes)
        ratios[begin : begin + minutes] = [high] * minutes
        windows = _windows(dice, ratios, clump)
        for hours in (24, HOURS):
            yield _judge(detector, windows[: hours * 60])

    return looks


def _windows(dice: random.Random, ratios: Sequence[float], clump: int) -> list[ErrorWindow]:
    """Errors by thinning: only those of the highest ratio are drawn, and some dropped."""
    highest, errors = max(ratio for ratio in ratios if ratio < 1), [0] * MINUTES
    at = dice.expovariate(highest / clump)
    while at < MINUTES * PER_MINUTE:
        minute = int(at / PER_MINUTE)
        errors[minute] += clump * (dice.random() * highest < ratios[minute])
        at += dice.expovariate(highest / clump)
    for minute, share in enumerate(ratios):
        if share >= 1:
            errors[minute] = PER_MINUTE
    counts = (min(PER_MINUTE, count) for count in errors)
    return list(map(ErrorWindow, SECONDS, repeat(PER_MINUTE), counts))


def _judge(detector: str, windows: Sequence[ErrorWindow]) -> Finding:
    if detector == "error_burst":
        return judge_bursts("simulated", windows)
    requests, errors = len(windows) * PER_MINUTE, sum(window.errors for window in windows)
    return judge_errors("simulated", requests, errors, planned=MINUTES * PER_MINUTE)


def _identities(*, restart: bool) -> Callable[[random.Random], Iterator[Finding]]:
    def looks(dice: random.Random) -> Iterator[Finding]:
        moment = dice.randrange(1, MINUTES) if restart else MINUTES
        lives = Identity(pid=100, birth="1"), Identity(pid=100, birth="2")
        seen = [
            (minute * 60.0, None if inside and dice.random() < 0.05 else lives[minute >= moment])  # noqa: PLR2004 - in the row's name
            for minute in range(MINUTES)
            for inside in [0 < minute < MINUTES - 1]
        ]
        yield judge_restarts("simulated", seen)

    return looks


def _progress(stalled_minutes: int) -> Callable[[random.Random], Iterator[Finding]]:
    """One request a minute; in a stall of minutes it waits, in a deadlock it times out."""

    def looks(dice: random.Random) -> Iterator[Finding]:
        watch = ProgressWatch([Route("simulated", "simulated", 60)], blind_seconds=120)
        begin = dice.randrange(1, MINUTES - 10)
        waiting: list[int] = []
        for minute in range(MINUTES):
            at = minute * 60.0
            watch.started("simulated", minute, at)
            stalled = begin <= minute < begin + stalled_minutes
            if stalled and stalled_minutes < MINUTES:
                waiting.append(minute)
                continue
            for late in waiting:
                watch.ended("simulated", late, at)
            waiting.clear()
            took = min(TIMEOUT_SECONDS, math.exp(dice.gauss(-1, 1.5)))
            timed_out = stalled or took == TIMEOUT_SECONDS
            watch.ended("simulated", minute, at + took, TIMED_OUT if timed_out else ANSWERED)
        yield watch.check(MINUTES * 60.0)[0]

    return looks


def _sessions(*, stuck: bool) -> Callable[[random.Random], Iterator[Finding]]:
    def looks(dice: random.Random) -> Iterator[Finding]:
        watch, count = SessionWatch("simulated"), MINUTES // 5
        which = dice.randrange(count) if stuck else count
        for number in range(count):
            at = number * 300.0
            for ask, answer in (
                (watch.create_asked, watch.created),
                (watch.destroy_asked, watch.destroyed),
            ):
                ask(number, at)
                at += dice.lognormvariate(-2, 1)
                answer(number, at)
            if number != which:
                watch.gone(number, at + dice.lognormvariate(0, 0.7))
        yield watch.check(MINUTES * 60.0)

    return looks
