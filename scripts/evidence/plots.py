"""Figures of the report as SVG text: pure functions of numbers, with every text escaped.

Colours and patterns come from the style sheet of `templates/report.html.j2` through
classes, so that one figure serves light, dark and paper.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from common.cli import ScriptError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARKS = {"passed": "✓", "failed": "✗", "inconclusive": "?", "skipped": "-"}
STATUSES = {
    "completed": "completed",
    "failed": "failed",
    "timed_out": "timed out",
    "pending": "pending",
    "not_submitted": "not submitted",
}
PERCENTILES = ((50, "○"), (95, "□"), (99, "◇"))

WIDTH = 720
_LABEL_WIDTH, _ROW_HEIGHT, _AXIS_HEIGHT = 172, 26, 44
_NAME_LENGTH, _LETTER_WIDTH = 28, 7.0
_LEFT, _PLOT_HEIGHT = 52, 230
_CURVE_POINTS = 240
_SMALLEST_SECONDS = 1e-6
_LONG_SECONDS = 100
_WIDE_RANGE = 100
_BAR_WIDTH, _BAR_HEIGHT = 160, 12
# Controls, direction marks and overrides, lone surrogates, non-characters: they can hide
# or reorder what a reader sees, and XML and UTF-8 refuse some of them.
_ILLEGIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff"
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


@dataclass(frozen=True)
class Span:
    """One bar of the timeline; times in seconds since the start of the run."""

    name: str
    outcome: str
    start_seconds: float
    duration_seconds: float


@dataclass(frozen=True)
class Series:
    """The latencies of one step, in seconds, in any order."""

    name: str
    seconds: tuple[float, ...]


def legible(value: object, limit: int = 2000) -> str:
    """Any value as text that people, XML and UTF-8 can read; not yet escaped.

    Control and direction characters become `⟨U+202E⟩`; a text longer than `limit`
    characters says how much was left out.
    """
    text = str(value)
    rest = len(text) - limit
    text = _ILLEGIBLE.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text[:limit])
    return f"{text}… ({rest} more characters)" if rest > 0 else text


def known(value: object, allowed: Mapping[str, str], what: str) -> str:
    """The value, where it is one of the words that a figure can show.

    Raises:
        ScriptError: another word: nothing may be drawn as if it had passed.
    """
    if isinstance(value, str) and value in allowed:
        return value
    got = legible(repr(value), 80)
    raise ScriptError(f"{what}: expected one of {', '.join(allowed)}, got {got}")


def duration(seconds: float) -> str:
    """A time with its unit and about three significant digits."""
    for limit, digits in ((0.01, 2), (0.1, 1), (1.0, 0)):
        if seconds < limit:
            return f"{seconds * 1000:.{digits}f} ms"
    digits = 2 if seconds < _LONG_SECONDS else 0
    return f"{seconds:,.{digits}f} s"


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of values in rising order: always one that was measured."""
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def timeline(spans: Sequence[Span]) -> str:
    """A Gantt chart of steps; empty without steps."""
    if not spans:
        return ""
    end = max(span.start_seconds + span.duration_seconds for span in spans) or 1.0
    ticks = linear_ticks(end)
    end = max(end, ticks[-1])
    name_length = min(_NAME_LENGTH, max(len(span.name) for span in spans))
    left = name_length * _LETTER_WIDTH + 16
    plot_width = WIDTH - left - _LABEL_WIDTH
    bottom = len(spans) * _ROW_HEIGHT + 8
    parts = []
    for tick in ticks:
        x = left + tick / end * plot_width
        parts.append(tag("line", x1=x, x2=x, y1=0, y2=bottom, class_="grid"))
        parts.append(text_at(x, bottom + 16, f"{tick:g}", "tick middle"))
    middle = left + plot_width / 2
    parts.append(text_at(middle, bottom + 36, "time since start of run (seconds)", "axis middle"))
    for row, span in enumerate(spans):
        parts.append(_timeline_row(span, left, row * _ROW_HEIGHT + 4, plot_width / end))
    words = (f"{short(s.name, 60)}: {s.outcome}, {duration(s.duration_seconds)}" for s in spans)
    return figure(bottom + _AXIS_HEIGHT, "Timeline of steps. " + "; ".join(words), parts)


def _timeline_row(span: Span, left: float, top: float, pixels_per_second: float) -> str:
    outcome = known(span.outcome, MARKS, "step")
    x = left + span.start_seconds * pixels_per_second
    width = max(2.0, span.duration_seconds * pixels_per_second)
    label = f"{MARKS[outcome]} {outcome}"
    if outcome != "skipped":
        label = f"{duration(span.duration_seconds)}  {label}"
    return "".join(
        [
            text_at(left - 10, top + 13, short(span.name, _NAME_LENGTH), "end"),
            tag("rect", x=x, y=top, width=width, height=18, class_=f"fill-{outcome}"),
            text_at(WIDTH - _LABEL_WIDTH + 12, top + 13, label, "number"),
        ]
    )


def cumulative(series: Sequence[Series]) -> str:
    """Empirical cumulative distribution of each step on one logarithmic axis; empty without data.

    Marks stand at p50, p95 and p99 (nearest rank). A curve has at most 240 points.
    """
    shown = [Series(s.name, tuple(sorted(s.seconds))) for s in series if s.seconds]
    if not shown:
        return ""
    ticks = log_ticks(min(s.seconds[0] for s in shown), max(s.seconds[-1] for s in shown))
    top = len(shown) * 20 + 12
    parts = [*_percent_axis(top), *_time_axis(top, ticks)]
    for number, one in enumerate(shown):
        style, y = f"curve curve-{number % 4}", 10 + number * 20
        parts.append(tag("line", x1=_LEFT, x2=_LEFT + 34, y1=y, y2=y, class_=style))
        parts.append(text_at(_LEFT + 42, y + 4, _legend(one), "number"))
        parts.append(_curve(one, style, top, (ticks[0], ticks[-1])))
    words = "; ".join(_legend(one) for one in shown)
    return figure(
        top + _PLOT_HEIGHT + _AXIS_HEIGHT, f"Cumulative distribution of latency. {words}", parts
    )


def _legend(one: Series) -> str:
    marks = (f"{mark} p{p} {duration(percentile(one.seconds, p))}" for p, mark in PERCENTILES)
    return f"{short(one.name, 40)}  n = {len(one.seconds):,}  " + "  ".join(marks)


def _percent_axis(top: float) -> list[str]:
    parts = []
    for percent in (0, 25, 50, 75, 100):
        y = top + _PLOT_HEIGHT * (1 - percent / 100)
        parts.append(tag("line", x1=_LEFT, x2=WIDTH - 16, y1=y, y2=y, class_="grid"))
        parts.append(text_at(_LEFT - 6, y + 4, f"{percent}", "tick end"))
    y = top + _PLOT_HEIGHT / 2
    turn = f"rotate(-90 12 {y:g})"
    return [*parts, text_at(12, y, "share of jobs (%)", "axis middle", transform=turn)]


def _time_axis(top: float, ticks: Sequence[float]) -> list[str]:
    bottom = top + _PLOT_HEIGHT
    parts = []
    for tick in ticks:
        x = _log_x(tick, (ticks[0], ticks[-1]))
        label = f"{tick * 1000:g} ms" if tick < 1 else f"{tick:g} s"
        parts.append(tag("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        # Centred, the last label would be cut at the edge.
        place = "tick end" if tick == ticks[-1] else "tick middle"
        parts.append(text_at(x, bottom + 16, label, place))
    middle = (_LEFT + WIDTH - 16) / 2
    label = "time taken (milliseconds, seconds; logarithmic scale)"
    return [*parts, text_at(middle, bottom + 36, label, "axis middle")]


def _curve(one: Series, style: str, top: float, limits: tuple[float, float]) -> str:
    count = len(one.seconds)
    points = min(count, _CURVE_POINTS)
    ranks = [round(i * (count - 1) / max(1, points - 1)) for i in range(points)]
    bottom = top + _PLOT_HEIGHT
    path = [f"M{_log_x(one.seconds[0], limits):.1f} {bottom:.1f}"]
    for rank in ranks:
        x, y = _log_x(one.seconds[rank], limits), bottom - _PLOT_HEIGHT * (rank + 1) / count
        path.append(f"H{x:.1f}V{y:.1f}")
    path.append(f"H{WIDTH - 16}")
    marks = []
    for percent, shape in PERCENTILES:
        x = _log_x(percentile(one.seconds, percent), limits)
        marks.append(_mark(shape, x, bottom - _PLOT_HEIGHT * percent / 100))
    return tag("path", d="".join(path), class_=style) + "".join(marks)


def _mark(shape: str, x: float, y: float) -> str:
    if shape == "○":
        return tag("circle", cx=x, cy=y, r=4.5, class_="mark")
    turn = {"transform": f"rotate(45 {x:.1f} {y:.1f})"} if shape == "◇" else {}
    return tag("rect", x=x - 4, y=y - 4, width=8, height=8, class_="mark", **turn)


def _log_x(seconds: float, limits: tuple[float, float]) -> float:
    low, high = math.log(limits[0]), math.log(limits[1])
    share = (math.log(max(seconds, _SMALLEST_SECONDS)) - low) / (high - low)
    return _LEFT + share * (WIDTH - 16 - _LEFT)


def linear_ticks(end: float) -> list[float]:
    """Round values from 0 up to `end`, four to ten of them."""
    raw = end / 8
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    return [i * step for i in range(math.floor(end / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Values 1, 2, 5 times 10^n (over a wide range 10^n) that enclose `low` and `high`."""
    low, high = max(low, _SMALLEST_SECONDS), max(high, _SMALLEST_SECONDS)
    steps = (1, 2, 5) if high / low < _WIDE_RANGE else (1,)
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    every = [float(f"{m}e{power}") for power in range(first, last + 1) for m in steps]
    start = max(tick for tick in every if tick <= low * 1.000001)
    end = min(tick for tick in every if tick >= high * 0.999999 and tick > start)
    return [tick for tick in every if start <= tick <= end]


def stacked_bar(counts: Mapping[str, int], full: int) -> str:
    """One small bar of jobs by status; `full` jobs are the whole width."""
    x, parts = 0.0, []
    for status, word in STATUSES.items():
        width = counts.get(status, 0) / max(1, full) * _BAR_WIDTH
        if width > 0:
            parts.append(_cell(status, x, width, tag("title", word)))
        x += width
    words = ", ".join(f"{counts.get(s, 0)} {word}" for s, word in STATUSES.items())
    return figure(_BAR_HEIGHT, words, parts, _BAR_WIDTH)


def swatch(status: str) -> str:
    """The pattern of one job status, for the head of a table column."""
    word = STATUSES[known(status, STATUSES, "job status")]
    return figure(_BAR_HEIGHT, f"pattern of {word}", [_cell(status, 0, _BAR_HEIGHT)], _BAR_HEIGHT)


def _cell(status: str, x: float, width: float, title: str = "") -> str:
    style = f"cell-{status}"
    return tag("rect", title, x=x, y=0, width=width, height=_BAR_HEIGHT, class_=style)


def short(text: str, length: int) -> str:
    """The text, cut with an ellipsis where it is longer than `length`."""
    return text if len(text) <= length else text[: length - 1] + "…"


def text_at(x: float, y: float, text: str, style: str = "", **attributes: str) -> str:
    """A text at a place; escaped and made legible here."""
    return tag("text", escape(legible(text)), x=x, y=y, class_=style, **attributes)


def figure(height: float, label: str, parts: Sequence[str], width: float = WIDTH) -> str:
    """The whole figure; `label` is what it says in words."""
    size = {"width": width, "height": height} if width != WIDTH else {}
    box = f"0 0 {width:g} {height:g}"
    return tag("svg", "".join(parts), viewBox=box, role="img", aria_label=label, **size)


def tag(name: str, content: str = "", /, **attributes: str | float) -> str:
    """One element; `content` is markup made here, attributes are escaped."""
    words = []
    for key, value in attributes.items():
        # Never cut here: a path that ends early would draw another distribution.
        text = (
            legible(value, sys.maxsize)
            if isinstance(value, str)
            else f"{value:.1f}".removesuffix(".0")
        )
        words.append(f' {key.rstrip("_").replace("_", "-")}="{escape(text)}"')
    return f"<{name}{''.join(words)}>{content}</{name}>"
