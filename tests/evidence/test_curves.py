"""Curves over time: no spike vanishes, no gap is bridged, nothing hostile gets in."""

from __future__ import annotations

import math
import re

import pytest

from common.cli import ScriptError
from evidence.curves import CURVE_POINTS, Chart, Curve, condense, draw, read_chart

MINUTES_48_H = 2880


def chart(**changes: object) -> Chart:
    curve = Curve("p95", ((0.0, 1.0, 2.0, 3.0), (60.0, 1.0, 2.0, 30.0)))
    values = {
        "title": "Latency",
        "unit": "ms",
        "logarithmic": True,
        "end_seconds": 120.0,
        "gaps": (),
        "curves": (curve,),
        **changes,
    }
    return Chart(**values)  # type: ignore[arg-type]


def test_two_days_have_few_points_and_every_spike() -> None:
    seconds = [minute * 60.0 for minute in range(MINUTES_48_H)]
    values = [5.0] * MINUTES_48_H
    values[1234], values[2001] = 900.0, 0.5
    points = condense(seconds, values, MINUTES_48_H * 60)
    assert len(points) == CURVE_POINTS
    assert max(point[3] for point in points) == 900
    assert min(point[1] for point in points) == 0.5
    assert sorted(point[0] for point in points) == [point[0] for point in points]


def test_values_that_are_none_are_left_out() -> None:
    assert condense([0, 60, 120], [1.0, math.nan, math.inf], 180) == ((0, 1, 1, 1),)
    assert condense([], [], 0) == ()


def test_a_chart_survives_a_summary() -> None:
    one = chart(gaps=((30.0, 50.0),))
    assert read_chart(one.as_json()) == one


@pytest.mark.parametrize(
    "change",
    [
        {"end_seconds": None},
        {"end_seconds": math.nan},
        {"end_seconds": True},
        {"gaps": [[1]]},
        {"curves": [{"name": "x", "points": [[1, 2, 3]]}]},
        {"curves": [{"name": "x", "points": [[1, 2, 3, "4"]]}]},
        {"curves": [{"points": []}]},
        {"curves": None},
    ],
)
def test_a_chart_of_another_form_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ScriptError, match="plots: expected curves"):
        read_chart({**chart().as_json(), **change})


def test_a_single_point_is_a_dot_and_its_value_is_said() -> None:
    drawn = draw(chart(curves=(Curve("p95", ((60.0, 3.0, 3.0, 3.0),)),)))
    assert re.search(r'<circle cx="[\d.]+" cy="[\d.]+" r="3" class="curve curve-0">', drawn)
    assert "p95  one value: 3 ms" in drawn
    assert "lowest" not in drawn


def test_two_points_are_a_line() -> None:
    assert "<circle" not in draw(chart())


def test_a_gap_breaks_the_line_and_is_drawn() -> None:
    whole, broken = draw(chart()), draw(chart(gaps=((10.0, 50.0),)))
    assert whole.count('class="curve curve-0"') + 1 == broken.count('class="curve curve-0"')
    assert 'class="gap"' in broken
    assert "1 gaps without measurement" in broken


def test_without_points_there_is_no_figure() -> None:
    assert draw(chart(curves=())) == ""
    assert draw(chart(curves=(Curve("p95", ()),))) == ""


@pytest.mark.parametrize("logarithmic", [True, False])
@pytest.mark.parametrize("value", [0.0, 1e-9, 5.0, 1e9])
def test_any_value_stays_inside_the_figure(value: float, *, logarithmic: bool) -> None:
    curve = Curve("x", ((0.0, value, value, value), (60.0, 0.0, value / 2, value)))
    drawn = draw(chart(curves=(curve,), logarithmic=logarithmic))
    box = re.search(r'viewBox="0 0 (\d+) (\d+)"', drawn)
    assert box
    for path in re.findall(r' d="([^"]+)"', drawn):
        numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", path)]
        assert all(0 <= number <= float(box[1]) for number in numbers)


def test_the_axis_of_time_suits_the_length() -> None:
    for end, unit in ((90.0, "seconds"), (1200.0, "minutes"), (172_800.0, "hours")):
        assert f"time since the start of the run ({unit})" in draw(chart(end_seconds=end))


def test_texts_are_escaped() -> None:
    hostile = "</svg><script>alert(1)</script>"
    curve = Curve(hostile, ((0.0, 1.0, 2.0, 3.0),))
    drawn = draw(chart(title=hostile, unit=hostile, curves=(curve,)))
    assert "<script>" not in drawn
    assert drawn.count("</svg>") == 1


def test_a_figure_says_in_words_what_it_shows() -> None:
    label = "Latency over 120 seconds. p95  lowest 1  middle 2  highest 30 ms."
    assert f'aria-label="{label}"' in draw(chart())
