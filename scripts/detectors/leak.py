"""Memory that grows and does not come back: troughs of long windows, not samples.

The lowest values of six hours are what a service needs after its garbage was collected.
A leak lifts every trough; warm-up lifts the first ones, a sawtooth or a daily wave none
for long. So three things together are a leak: the Theil-Sen growth over the observed span,
a steady rise (Kendall's tau), and a second half that still rises.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from itertools import compress, pairwise
from operator import sub
from statistics import median
from typing import TYPE_CHECKING

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding, outcome_of
from detectors.trend import kendall_tau, level_at_start, slope_of

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW_SECONDS = 21_600.0
WINDOW_REQUESTS = 37_800.0  # six hours at 1.75 requests a second
# With four, one warm-up in ten looks like a leak; with six, none of 200 (docs/detectors.md).
MINIMUM_WINDOWS = 6
# Fewer samples than this may all miss the moment after a collection.
MINIMUM_SAMPLES = 12
# A trough is this share from below: the very lowest of 360 samples scatters twice as much.
TROUGH = 0.02
LIMIT_RATIO = 0.05
TAU = 0.6
# Of the whole span's limit: warm-up has slowed down by then, a leak has not.
SECOND_HALF = 0.8
# A hole of this many sample distances ends a span.
GAP_SAMPLES = 5


@dataclass(frozen=True)
class _Span:
    """Samples without a hole: `positions` are seconds, or requests so far."""

    seconds: list[float]
    positions: list[float]
    values: list[float]


def judge_leak(
    subject: str,
    seconds: Sequence[float],
    uss_bytes: Sequence[float],
    *,
    window_seconds: float = WINDOW_SECONDS,
    gap_seconds: float | None = None,
) -> Finding:
    """Whether a service's memory grew by more than 5 % over the observed span and kept it.

    Call it again when a window is complete; in between its answer can't change.

    Args:
        subject: the service.
        seconds: when each sample was taken, rising.
        uss_bytes: the service's own memory; NaN where it could not be read.
        window_seconds: one trough each; shorter for accelerated or simulated series.
        gap_seconds: what counts as a hole in the series (default: five sample distances).
            A window never reaches over a hole, and each side is judged alone.

    Raises:
        ValueError: not as many times as values.

    Source:
        G2; field notes, "Load and latency".
    """
    spans = _spans(seconds, seconds, uss_bytes, gap_seconds)
    return _worst("leak", subject, spans, window_seconds, "s")


def growth_per_request(
    subject: str,
    seconds: Sequence[float],
    requests: Sequence[float],
    uss_bytes: Sequence[float],
    *,
    window_requests: float = WINDOW_REQUESTS,
    gap_seconds: float | None = None,
) -> Finding:
    """The same question by requests served: all that an accelerated run may claim.

    Args:
        subject: the service.
        seconds: when each sample was taken, rising.
        requests: how many requests were answered by then, never falling.
        uss_bytes: the service's own memory; NaN where it could not be read.
        window_requests: one trough each.
        gap_seconds: as for `judge_leak`.

    Raises:
        ValueError: not as many times, counts and values.
    """
    spans = _spans(seconds, requests, uss_bytes, gap_seconds)
    return _worst("growth_per_request", subject, spans, window_requests, "requests")


def _spans(
    seconds: Sequence[float],
    positions: Sequence[float],
    values: Sequence[float],
    gap_seconds: float | None,
) -> list[_Span] | str:
    """The unbroken spans, or what is wrong with the series."""
    columns = _usable(seconds, positions, values)
    times, counts = columns[0], columns[1]
    if not times:
        return f"none of {len(values)} samples has a value"
    steps = list(map(sub, times[1:], times))
    if steps and min(steps) <= 0:
        return f"the clock did not go forward after {times[steps.index(min(steps))]:g} s"
    if positions is not seconds and min(map(sub, counts[1:], counts), default=0) < 0:
        return "the count of requests fell"
    gap = gap_seconds or (GAP_SAMPLES * median(steps) if steps else math.inf)
    holes = [index + 1 for index, step in enumerate(steps) if step > gap]
    cuts = [0, *holes, len(times)]
    return [_Span(*(column[begin:end] for column in columns)) for begin, end in pairwise(cuts)]


def _usable(*columns: Sequence[float]) -> list[list[float]]:
    """Samples with a value, which is the last column; seconds, positions, values."""
    if len({*map(len, columns)}) != 1:
        raise ValueError(f"expected as many times as values, got {[*map(len, columns)]}")
    fine = [all(map(math.isfinite, column)) for column in columns]
    if all(fine) and min(columns[-1], default=1) > 0:  # nearly always, and ten times quicker
        return [list(column) for column in columns]
    usable = [all(map(math.isfinite, row)) and row[-1] > 0 for row in zip(*columns, strict=True)]
    return [list(compress(column, usable)) for column in columns]


def _worst(
    detector: str, subject: str, spans: list[_Span] | str, window: float, unit: str
) -> Finding:
    """A leak in any span fails; only the longest one can pass the whole."""
    if isinstance(spans, str):
        return Finding(detector, subject, NOT_JUDGED, f"{spans}: expected a rising clock and bytes")
    spans.sort(key=lambda span: span.positions[-1] - span.positions[0], reverse=True)
    found = [_judge_span(detector, subject, span, window, unit) for span in spans]
    failed = [item for item in found if item.outcome == FAILED]
    return failed[0] if outcome_of(found) == FAILED else found[0]


def _judge_span(detector: str, subject: str, span: _Span, window: float, unit: str) -> Finding:
    troughs = _troughs(span, window)
    if isinstance(troughs, str) or len(troughs) < MINIMUM_WINDOWS:
        got = troughs if isinstance(troughs, str) else f"{len(troughs)}"
        need = f"expected at least {MINIMUM_WINDOWS} complete windows of {window:,.0f} {unit}"
        figures: dict[str, float | int] = {
            "windows": 0 if isinstance(troughs, str) else len(troughs)
        }
        return Finding(
            detector, subject, NOT_JUDGED, f"{need} without a gap, got {got}", None, figures
        )
    figures = _figures(troughs, window)
    failed = (
        figures["growth_ratio"] > LIMIT_RATIO
        and figures["tau"] > TAU
        and figures["second_half_ratio"] > LIMIT_RATIO * SECOND_HALF
    )
    detail = (
        f"expected growth of at most {LIMIT_RATIO:.0%} in {len(troughs) * window:,.0f} {unit}, "
        f"got {figures['growth_ratio']:+.2%} (tau {figures['tau']:.2f} of {TAU}, "
        f"at the pace of the second half {figures['second_half_ratio']:+.2%})"
    )
    outcome = FAILED if failed else PASSED
    return Finding(detector, subject, outcome, detail, span.seconds[-1], figures)


def _troughs(span: _Span, window: float) -> list[float] | str:
    """One for each complete window; or what is wrong where one has too few samples."""
    first, last = span.positions[0], span.positions[-1]
    # A sample stands for the distance to the next: 2,880 minutes are 48 hours.
    reach = (last - first) * (1 + 1 / max(1, len(span.positions) - 1))
    complete = math.floor(reach / window + 1e-9)
    cuts = [bisect_left(span.positions, first + index * window) for index in range(complete + 1)]
    windows = [span.values[begin:end] for begin, end in pairwise(cuts)]
    fewest = min(map(len, windows), default=MINIMUM_SAMPLES)
    if fewest < MINIMUM_SAMPLES:
        return f"{complete}, one with {fewest} of {MINIMUM_SAMPLES} samples"
    return [sorted(values)[int(len(values) * TROUGH)] for values in windows]


def _figures(troughs: list[float], window: float) -> dict[str, float | int]:
    positions = [index * window for index in range(len(troughs))]
    span, half = len(troughs) * window, len(troughs) // 2
    slope = slope_of(positions, troughs)
    # A falling line of a broken series could reach zero; the lowest trough never does.
    level = max(level_at_start(positions, troughs, slope), min(troughs))
    late = slope_of(positions[half:], troughs[half:])
    return {
        "windows": len(troughs),
        "growth_ratio": slope * span / level,
        "tau": kendall_tau(troughs),
        "second_half_ratio": late * span / level,
        "growth_bytes": slope * span,
        "bytes_per_unit": slope,
        "first_trough_bytes": troughs[0],
        "last_trough_bytes": troughs[-1],
    }
