"""Figures: right positions, labels with units, nothing unescaped, bounded size."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cli import ScriptError
from evidence import plots
from evidence.plots import Series, Span


def parse(svg: str) -> ET.Element:
    """The figure as XML: a figure that does not parse is broken."""
    return ET.fromstring(svg)  # noqa: S314 - made a line above by the code under test


def texts(svg: str) -> list[str]:
    """All texts of a figure."""
    return [element.text or "" for element in parse(svg).iter("text")]


def test_timeline_has_one_bar_per_step_in_proportion() -> None:
    svg = plots.timeline([Span("a", "passed", 0, 2), Span("b", "failed", 2, 4)])
    first, second = (dict(bar.items()) for bar in parse(svg).iter("rect"))
    assert float(second["width"]) == pytest.approx(2 * float(first["width"]), abs=0.2)
    right = float(first["x"]) + float(first["width"])
    assert float(second["x"]) == pytest.approx(right, abs=0.2)
    assert (first["class"], second["class"]) == ("fill-passed", "fill-failed")


def test_every_axis_names_its_unit() -> None:
    assert "time since start of run (seconds)" in texts(plots.timeline([Span("a", "passed", 0, 1)]))
    labels = texts(plots.cumulative([Series("a", (0.1, 0.2))]))
    assert "share of jobs (%)" in labels
    assert any("milliseconds" in label for label in labels)


def test_figure_without_data_is_empty() -> None:
    assert plots.timeline([]) == ""
    assert plots.cumulative([]) == ""
    assert plots.cumulative([Series("a", ())]) == ""


def test_unknown_outcome_is_refused() -> None:
    with pytest.raises(ScriptError, match="expected one of passed"):
        plots.timeline([Span("a", "splendid", 0, 1)])


def test_steps_of_no_length_can_be_seen() -> None:
    svg = plots.timeline([Span("a", "skipped", 0, 0)])
    assert [float(bar.get("width", "0")) for bar in parse(svg).iter("rect")] == [2.0]


def test_curve_rises_from_none_to_all() -> None:
    svg = plots.cumulative([Series("a", tuple(n / 100 for n in range(1, 101)))])
    path = next(iter(parse(svg).iter("path"))).get("d", "")
    heights = [float(y) for y in re.findall(r"V([\d.]+)", path)]
    assert heights == sorted(heights, reverse=True)
    assert heights[-1] == pytest.approx(heights[0] - 230 * 0.99, abs=0.3)


def test_long_curve_is_thinned_but_never_cut() -> None:
    svg = plots.cumulative([Series("a", tuple(n / 1000 for n in range(1, 5001)))])
    path = next(iter(parse(svg).iter("path"))).get("d", "")
    assert path.endswith("H704")
    assert path.count("V") == 240
    assert float(re.findall(r"V([\d.]+)", path)[-1]) == 32.0


def test_marks_stand_at_the_measured_percentiles() -> None:
    svg = plots.cumulative([Series("wait", (0.01,) * 50 + (0.1,) * 45 + (1.0,) * 5)])
    legend = next(text for text in texts(svg) if "n = 100" in text)
    assert "p50 10.0 ms" in legend
    assert "p95 100 ms" in legend
    assert "p99 1.00 s" in legend
    assert len(list(parse(svg).iter("circle"))) == 1


def test_many_values_stay_small() -> None:
    values = tuple(0.001 + n / 1000 for n in range(10_000))
    assert len(plots.cumulative([Series("a", values), Series("b", values)])) < 20_000


@pytest.mark.parametrize("text", ['"><script>x</script>', "</svg>&", "\x00\ud800\u202e", "'" * 40])
def test_hostile_names_stay_text(text: str) -> None:
    for svg in (
        plots.timeline([Span(text, "passed", 0, 1)]),
        plots.cumulative([Series(text, (1.0,))]),
    ):
        assert not {"script", "img"} & {element.tag for element in parse(svg).iter()}


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40))
def test_any_latencies_give_finite_coordinates_inside_the_figure(values: list[float]) -> None:
    svg = plots.cumulative([Series("a", tuple(values))])
    path = next(iter(parse(svg).iter("path"))).get("d", "")
    numbers = [float(number) for number in re.findall(r"[\d.]+", path)]
    assert all(math.isfinite(number) and 0 <= number <= 720 for number in numbers)
    assert "nan" not in svg


@given(st.floats(1e-3, 1e6))
def test_linear_ticks_are_few_round_and_inside(end: float) -> None:
    ticks = plots.linear_ticks(end)
    assert 4 <= len(ticks) <= 10
    assert ticks[0] == 0
    assert ticks[-1] <= end * 1.000001


@given(st.floats(1e-6, 1e5), st.floats(1, 1e6))
def test_log_ticks_enclose_the_values(low: float, factor: float) -> None:
    ticks = plots.log_ticks(low, low * factor)
    assert 2 <= len(ticks) <= 14
    assert ticks[0] <= low * 1.00001
    assert ticks[-1] >= low * factor * 0.99999


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_percentile_is_a_measured_value_in_order(values: list[float]) -> None:
    ordered = sorted(values)
    found = [plots.percentile(ordered, percent) for percent in (0, 50, 95, 99, 100)]
    assert found == sorted(found)
    assert set(found) <= set(values)
    assert found[-1] == ordered[-1]


def test_stacked_bar_shares_its_width_by_count() -> None:
    svg = plots.stacked_bar({"completed": 30, "failed": 10}, 80)
    widths = {bar.get("class"): float(bar.get("width", "")) for bar in parse(svg).iter("rect")}
    assert widths == {"cell-completed": 60.0, "cell-failed": 20.0}
    assert "30 completed, 10 failed, 0 timed out" in (parse(svg).get("aria-label") or "")


def test_every_figure_has_a_text_alternative() -> None:
    for svg in (
        plots.timeline([Span("a", "passed", 0, 1)]),
        plots.cumulative([Series("a", (1.0,))]),
        plots.stacked_bar({}, 0),
        plots.swatch("failed"),
    ):
        assert parse(svg).get("role") == "img"
        assert parse(svg).get("aria-label")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.00123, "1.23 ms"),
        (0.0456, "45.6 ms"),
        (0.789, "789 ms"),
        (4.5, "4.50 s"),
        (172800, "172,800 s"),
    ],
)
def test_durations_carry_their_unit(seconds: float, text: str) -> None:
    assert plots.duration(seconds) == text


@given(st.text())
def test_legible_text_is_safe_for_xml_and_utf8_and_stays_the_same(text: str) -> None:
    shown = plots.legible(text)
    shown.encode("utf-8")
    assert plots.legible(shown) == shown
