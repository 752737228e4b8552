"""Latency that gets worse: rises that last, spikes that come again, and slow drift.

All of it looks at the 95th percentile of windows with enough samples. With 15 samples a
minute's p95 exceeds 1.5 times the long-run one in 10 % of minutes without any change, so
windows are at least five minutes long, and longer for a route that is rarely asked.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding
from detectors.trend import MAD_TO_DEVIATION, kendall_tau, scatter_of, slope_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WINDOW_SECONDS = 300.0
MINIMUM_SAMPLES = 30
# Windows before the first one that is judged: an hour is what "long-run" means at least.
BASELINE_WINDOWS = 12
SUSTAINED_WINDOWS, SUSTAINED_FACTOR, SUSTAINED_DEVIATIONS = 4, 1.5, 2.5
SPIKE_WINDOWS, SPIKE_FACTOR, SPIKE_DEVIATIONS = 3, 3.0, 5.0
DRIFT_BLOCK_SECONDS = 3600.0
# A day, so that half a daily wave is no drift; and points enough for a trend.
DRIFT_SPAN_BLOCKS, DRIFT_MINIMUM_BLOCKS = 24, 12
DRIFT_LIMIT, DRIFT_TAU, DRIFT_SECOND_HALF = 0.20, 0.6, 0.5
_SLOWEST_SECONDS, _FASTEST_SECONDS = 1e6, 1e-6


@dataclass(frozen=True)
class LatencyWindow:
    """The requests of one route that were due in one window."""

    begin_seconds: float
    count: int
    p95_seconds: float


def window_seconds_for(per_second: float) -> float:
    """The window of a route: whole minutes, at least five, with 30 samples at that rate.

    Raises:
        ValueError: a rate that is none.
    """
    if not 0 < per_second < math.inf:
        raise ValueError(f"per_second: expected a number above 0, got {per_second!r}")
    return max(WINDOW_SECONDS, 60.0 * math.ceil(MINIMUM_SAMPLES / per_second / 60 - 1e-9))


def windows_of(
    seconds: Iterable[float], latency_seconds: Iterable[float], window_seconds: float
) -> list[LatencyWindow]:
    """The windows of one route's samples, in any order, by the time each was due.

    Args:
        seconds: when each request was due (its intended start).
        latency_seconds: from then to the answer's end; NaN for a request without an
            answer, which is slower than any.
        window_seconds: their length; they begin at multiples of it.
    """
    groups: dict[int, list[float]] = {}
    for at, latency in zip(seconds, latency_seconds, strict=True):
        slow = latency if latency >= 0 else math.inf  # false for NaN as well
        groups.setdefault(math.floor(at / window_seconds), []).append(slow)
    return [
        LatencyWindow(index * window_seconds, len(values), _p95(values))
        for index, values in sorted(groups.items())
    ]


def judge_spikes(
    subject: str,
    windows: Sequence[LatencyWindow],
    *,
    window_seconds: float = WINDOW_SECONDS,
    minimum_samples: int = MINIMUM_SAMPLES,
) -> Finding:
    """Four windows in a row over 1.5 times, or three in all over 3 times, the p95 so far.

    Where windows scatter more than that by themselves, the factors grow with the scatter.
    What failed once stays failed when windows are added.

    Source:
        G2 ("a p95 spike pattern"); field notes, "Load and latency".
    """
    usable = [window for window in windows if window.count >= minimum_samples]
    need = BASELINE_WINDOWS + SUSTAINED_WINDOWS
    if len(usable) < need:
        detail = f"expected at least {need} windows of {window_seconds:g} s with "
        detail += f"{minimum_samples} samples or more, got {len(usable)} of {len(windows)}"
        return Finding("spikes", subject, NOT_JUDGED, detail, None, {"windows": len(usable)})
    return _walk(subject, usable, window_seconds)


def _walk(subject: str, windows: list[LatencyWindow], window_seconds: float) -> Finding:
    earlier: list[float] = []
    steps: list[float] = []
    spikes: list[LatencyWindow] = []
    raised: list[LatencyWindow] = []
    before, worst = 0.0, 0.0
    for window in windows:
        value = _log(window.p95_seconds)
        if len(earlier) >= BASELINE_WINDOWS:
            rise, scatter = (
                value - _middle(earlier),
                MAD_TO_DEVIATION * _middle(steps) / math.sqrt(2),
            )
            worst = max(worst, rise)
            if raised and window.begin_seconds > raised[-1].begin_seconds + 1.5 * window_seconds:
                raised = []
            over = rise > max(math.log(SUSTAINED_FACTOR), SUSTAINED_DEVIATIONS * scatter)
            raised = [*raised, window] if over else []
            if rise > max(math.log(SPIKE_FACTOR), SPIKE_DEVIATIONS * scatter):
                spikes.append(window)
            if len(raised) >= SUSTAINED_WINDOWS or len(spikes) >= SPIKE_WINDOWS:
                return _failed(subject, raised, spikes, math.exp(_middle(earlier)), window_seconds)
        if earlier:
            insort(steps, abs(value - before))
        insort(earlier, value)
        before = value
    figures = {"windows": len(windows), "spikes": len(spikes), "worst_factor": math.exp(worst)}
    detail = (
        f"expected fewer than {SPIKE_WINDOWS} windows over {SPIKE_FACTOR:g} times the p95 so far, "
        f"got {len(spikes)} of {len(windows)}; the worst stood at {math.exp(worst):.2f} times"
    )
    return Finding("spikes", subject, PASSED, detail, None, figures)


def _failed(
    subject: str,
    raised: list[LatencyWindow],
    spikes: list[LatencyWindow],
    baseline_seconds: float,
    window_seconds: float,
) -> Finding:
    pattern = raised if len(raised) >= SUSTAINED_WINDOWS else spikes
    lowest = min(window.p95_seconds for window in pattern)
    factor = SUSTAINED_FACTOR if pattern is raised else SPIKE_FACTOR
    how = "in a row" if pattern is raised else "in all"
    starts = ", ".join(f"{window.begin_seconds:g}" for window in pattern)
    detail = (
        f"expected a p95 below {factor:g} times {baseline_seconds * 1000:.1f} ms, got "
        f"{lowest * 1000:.1f} ms or more in {len(pattern)} windows {how} (from {starts} s)"
    )
    figures = {
        "windows": len(pattern),
        "baseline_p95_seconds": baseline_seconds,
        "lowest_p95_seconds": lowest,
    }
    at = pattern[-1].begin_seconds + window_seconds
    return Finding("spikes", subject, FAILED, detail, at, figures)


def judge_drift(
    subject: str,
    windows: Sequence[LatencyWindow],
    *,
    window_seconds: float = WINDOW_SECONDS,
    block_seconds: float = DRIFT_BLOCK_SECONDS,
    minimum_samples: int = MINIMUM_SAMPLES,
) -> Finding:
    """Whether the p95 grew steadily by more than 20 % over the observed span.

    Args:
        subject: service/route.
        windows: as for `judge_spikes`.
        window_seconds: their length.
        block_seconds: one point of the trend is the median p95 of such a block; 24 of
            them are the shortest span that is judged.
        minimum_samples: windows with fewer are left out.
    """
    usable = [window for window in windows if window.count >= minimum_samples]
    length = max(block_seconds, window_seconds)
    groups: dict[int, list[float]] = {}
    for window in usable:
        groups.setdefault(int(window.begin_seconds / length), []).append(_log(window.p95_seconds))
    positions = sorted(groups)
    values = [median(groups[position]) for position in positions]
    span = (positions[-1] - positions[0] + 1) * length if positions else 0.0
    need = DRIFT_SPAN_BLOCKS * block_seconds
    if span < need or len(values) < DRIFT_MINIMUM_BLOCKS:
        detail = f"expected {DRIFT_MINIMUM_BLOCKS} points over at least {need:g} s, "
        detail += f"got {len(values)} over {span:g} s"
        return Finding("drift", subject, NOT_JUDGED, detail, None, {"points": len(values)})
    return _judge_trend(subject, positions, values, length)


def _judge_trend(subject: str, positions: list[int], values: list[float], length: float) -> Finding:
    count, half = positions[-1] - positions[0] + 1, len(values) // 2
    growth = slope_of(positions, values) * count
    late = slope_of(positions[half:], values[half:]) * count
    tau, limit = kendall_tau(values), math.log1p(DRIFT_LIMIT)
    # The standard error of a line's rise over n points with that scatter is √(12/n) of it.
    error = scatter_of(values) * math.sqrt(12 / len(values))
    figures = {
        "points": len(values),
        "growth_ratio": math.expm1(growth),
        "tau": tau,
        "second_half_ratio": math.expm1(late),
        "standard_error_ratio": math.expm1(error),
    }
    detail = (
        f"expected the p95 to grow by at most {DRIFT_LIMIT:.0%}, got {math.expm1(growth):+.1%} "
        f"± {math.expm1(error):.1%} in {count * length:,.0f} s (tau {tau:.2f} of {DRIFT_TAU})"
    )
    at = (positions[-1] + 1) * length
    if growth > limit and tau > DRIFT_TAU and late > limit * DRIFT_SECOND_HALF:
        return Finding("drift", subject, FAILED, detail, at, figures)
    if 2 * error > limit:
        return Finding(
            "drift", subject, NOT_JUDGED, f"{detail}: too few samples to tell", at, figures
        )
    return Finding("drift", subject, PASSED, detail, at, figures)


def _p95(values: list[float]) -> float:
    """Nearest rank, as everywhere here."""
    values.sort()
    return values[max(0, -(-len(values) * 95 // 100) - 1)]


def _log(seconds: float) -> float:
    return math.log(min(max(seconds, _FASTEST_SECONDS), _SLOWEST_SECONDS))


def _middle(ordered: list[float]) -> float:
    """The median of a list that is in order already."""
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
