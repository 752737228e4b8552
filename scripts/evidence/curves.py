"""Curves over the time of a long run as SVG: bands that lose no spike, gaps drawn as gaps.

A summary holds the numbers (`plots` of a measured part); the drawing is made here, so that
no markup of others ever stands in a report.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from evidence.plots import WIDTH, figure, legible, linear_ticks, log_ticks, short, tag, text_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Point = tuple[float, float, float, float]

CURVE_POINTS = 240
STYLES = 4
_LEFT, _RIGHT, _HEIGHT, _LEGEND, _TITLE, _AXIS = 64, 16, 190, 20, 24, 44
_NAME_LENGTH = 40
_DOT = 3.0
# The longest run, in seconds, that is shown in each unit.
_TIME_UNITS = ((300, 1, "seconds"), (3 * 3600, 60, "minutes"), (math.inf, 3600, "hours"))


@dataclass(frozen=True)
class Curve:
    """One curve: (seconds, lowest, middle, highest) of each stretch of time, in its order."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Chart:
    """Curves that share both axes.

    Args:
        title: what is shown.
        unit: of the values, such as "ms".
        logarithmic: the axis of the values.
        end_seconds: where the axis of time ends; it begins at 0.
        gaps: times in which nothing was measured.
        curves: at most four, each with a style of its own.
    """

    title: str
    unit: str
    logarithmic: bool
    end_seconds: float
    gaps: tuple[tuple[float, float], ...]
    curves: tuple[Curve, ...]

    def as_json(self) -> dict[str, Any]:
        """The chart for a summary."""
        curves = [{"name": one.name, "points": [*map(list, one.points)]} for one in self.curves]
        return asdict(self) | {"gaps": [*map(list, self.gaps)], "curves": curves}


def read_chart(value: Mapping[str, Any]) -> Chart:
    """A chart out of a summary.

    Raises:
        ScriptError: it has another form than expected, or a number that is none.
    """
    try:
        curves = tuple(
            Curve(str(one["name"]), tuple(_point(row) for row in one["points"]))
            for one in value["curves"]
        )
        gaps = tuple((_finite(begin), _finite(end)) for begin, end in value["gaps"])
        end, logarithmic = _finite(value["end_seconds"]), value["logarithmic"] is True
        return Chart(str(value["title"]), str(value["unit"]), logarithmic, end, gaps, curves)
    except (KeyError, TypeError, ValueError) as problem:
        raise ScriptError(f"plots: expected curves with four numbers a point: {problem}") from None


def _point(row: Sequence[object]) -> Point:
    seconds, low, middle, high = map(_finite, row)
    return seconds, low, middle, high


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {legible(repr(value), 40)}")
    return float(value)


def condense(
    seconds: Sequence[float], values: Sequence[float], end_seconds: float
) -> tuple[Point, ...]:
    """At most 240 points: of each stretch of time the lowest, the median and the highest value."""
    width = max(end_seconds, 1e-9) / CURVE_POINTS
    stretches: dict[int, list[tuple[float, float]]] = {}
    for at, value in zip(seconds, values, strict=True):
        if math.isfinite(value) and math.isfinite(at):
            number = min(CURVE_POINTS - 1, max(0, int(at / width)))
            stretches.setdefault(number, []).append((at, value))
    found = []
    for _, rows in sorted(stretches.items()):
        inside = [value for _, value in rows]
        middle = median(at for at, _ in rows), median(inside)
        points = (middle[0], min(inside), middle[1], max(inside))
        found.append(tuple(round(number, 4) for number in points))
    return tuple((a, b, c, d) for a, b, c, d in found)


def draw(chart: Chart) -> str:
    """The chart as SVG; empty where no curve has a point."""
    shown = [curve for curve in chart.curves if curve.points]
    if not shown:
        return ""
    axes = _Axes.of(chart, shown)
    parts = [text_at(_LEFT, 16, short(chart.title, 60)), *axes.values(chart), *axes.time()]
    parts += [axes.gap(begin, end) for begin, end in chart.gaps]
    for number, curve in enumerate(shown):
        style, y = f"curve curve-{number % STYLES}", _TITLE + 10 + number * _LEGEND
        parts.append(tag("line", x1=_LEFT, x2=_LEFT + 34, y1=y, y2=y, class_=style))
        parts.append(text_at(_LEFT + 42, y + 4, _legend(curve, chart.unit), "number"))
        parts.append(axes.curve(curve, chart.gaps, number % STYLES))
    return figure(axes.bottom + _AXIS, _words(chart, shown), parts)


def _legend(curve: Curve, unit: str) -> str:
    low = min(point[1] for point in curve.points)
    high = max(point[3] for point in curve.points)
    middle = median(point[2] for point in curve.points)
    name = short(curve.name, _NAME_LENGTH)
    if low == high and len(curve.points) == 1:
        return f"{name}  one value: {_round(middle)} {unit}"
    return f"{name}  lowest {_round(low)}  middle {_round(middle)}  highest {_round(high)} {unit}"


def _words(chart: Chart, shown: Sequence[Curve]) -> str:
    gaps = f" {len(chart.gaps)} gaps without measurement." if chart.gaps else ""
    told = "; ".join(_legend(curve, chart.unit) for curve in shown)
    return f"{short(chart.title, 80)} over {chart.end_seconds:.0f} seconds. {told}.{gaps}"


def _round(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


@dataclass(frozen=True)
class _Axes:
    """Where a time and a value stand."""

    top: float
    end_seconds: float
    ticks: tuple[float, ...]
    logarithmic: bool

    @classmethod
    def of(cls, chart: Chart, shown: Sequence[Curve]) -> _Axes:
        high = max(point[3] for curve in shown for point in curve.points)
        above = [point[1] for curve in shown for point in curve.points if point[1] > 0]
        logarithmic = chart.logarithmic and bool(above)
        ticks = log_ticks(min(above), high) if logarithmic else _ticks_to(high)
        last = max(curve.points[-1][0] for curve in shown)
        end = max(chart.end_seconds, last, 1e-9)
        return cls(_TITLE + len(shown) * _LEGEND + 12, end, tuple(ticks), logarithmic)

    @property
    def bottom(self) -> float:
        return self.top + _HEIGHT

    def x(self, seconds: float) -> float:
        share = min(1.0, max(0.0, seconds / self.end_seconds))
        return _LEFT + share * (WIDTH - _RIGHT - _LEFT)

    def y(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        share = min(1.0, max(0.0, (value - low) / (high - low)))
        return self.bottom - share * _HEIGHT

    def values(self, chart: Chart) -> list[str]:
        parts = []
        for tick in self.ticks:
            y = self.y(tick)
            parts.append(tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
            parts.append(text_at(_LEFT - 6, y + 4, f"{tick:g}", "tick end"))
        middle = self.top + _HEIGHT / 2
        label = f"{chart.unit}, logarithmic" if self.logarithmic else chart.unit
        turn = f"rotate(-90 12 {middle:g})"
        return [*parts, text_at(12, middle, label, "axis middle", transform=turn)]

    def time(self) -> list[str]:
        size, unit = next(row[1:] for row in _TIME_UNITS if self.end_seconds <= row[0])
        parts = []
        for tick in linear_ticks(self.end_seconds / size):
            x = self.x(tick * size)
            parts.append(tag("line", x1=x, x2=x, y1=self.top, y2=self.bottom, class_="grid"))
            parts.append(text_at(x, self.bottom + 16, f"{tick:g}", "tick middle"))
        label = f"time since the start of the run ({unit})"
        return [*parts, text_at(WIDTH / 2, self.bottom + 36, label, "axis middle")]

    def gap(self, begin: float, end: float) -> str:
        x, words = self.x(begin), tag("title", "gap: nothing was measured")
        width = max(1.0, self.x(end) - x)
        size = {"x": x, "y": self.top, "width": width, "height": float(_HEIGHT)}
        return tag("rect", words, class_="gap", **size)

    def curve(self, curve: Curve, gaps: Sequence[tuple[float, float]], style: int) -> str:
        """The band from the lowest to the highest, and the line of the middles."""
        drawn = []
        for points in _unbroken(curve.points, gaps):
            upper = [f"{self.x(at):.1f} {self.y(high):.1f}" for at, _, _, high in points]
            lower = [f"{self.x(at):.1f} {self.y(low):.1f}" for at, low, _, _ in reversed(points)]
            middle = [f"{self.x(at):.1f} {self.y(value):.1f}" for at, _, value, _ in points]
            band = f"M{'L'.join([*upper, *lower])}Z"
            drawn.append(tag("path", d=band, class_=f"band band-{style}"))
            look = f"curve curve-{style}"
            if len(points) == 1:  # a line without length is not seen
                at, _, value, _ = points[0]
                drawn.append(tag("circle", cx=self.x(at), cy=self.y(value), r=_DOT, class_=look))
            else:
                drawn.append(tag("path", d=f"M{'L'.join(middle)}", class_=look))
        return "".join(drawn)


def _ticks_to(high: float) -> list[float]:
    end = high if high > 0 else 1.0
    ticks = linear_ticks(end)
    step = ticks[1] - ticks[0]
    return ticks if ticks[-1] >= end else [*ticks, ticks[-1] + step]


def _unbroken(points: Sequence[Point], gaps: Sequence[tuple[float, float]]) -> list[list[Point]]:
    """The points in stretches that no gap lies in."""
    found: list[list[Point]] = [[points[0]]]
    for before, point in pairwise(points):
        if any(begin < point[0] and end > before[0] for begin, end in gaps):
            found.append([])
        found[-1].append(point)
    return found
