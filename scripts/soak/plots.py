"""The curves of a soak for report.html: latency, errors, memory and processor over time."""

from __future__ import annotations

from array import array
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from evidence.curves import STYLES, Chart, Curve, condense
from soak.figures import read_minutes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from soak.folder import SoakFolder
    from soak.spans import Gap

PERCENTILES = ("p50_ms", "p95_ms", "p99_ms")
MEBIBYTE = 1 << 20


class Column:
    """One value over time: two numbers a minute."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.seconds, self.values = array("d"), array("d")

    def add(self, at_seconds: float, value: float | None) -> None:
        """Take a value; None is left out."""
        if value is not None:
            self.seconds.append(at_seconds)
            self.values.append(value)


Columns = dict[tuple[str, str, str], Column]


def charts_of(
    folder: SoakFolder, profiles: Sequence[str], services: Sequence[str], gaps: Sequence[Gap]
) -> list[dict[str, Any]]:
    """Every chart as JSON (evidence/curves.py); a value that was never measured has none."""
    columns, end = _read(folder)
    maker = _Maker(columns, end, tuple((gap.begin_seconds, gap.end_seconds) for gap in gaps))
    charts = []
    for name in profiles:
        keys = [("latency", name, percent) for percent in PERCENTILES]
        names = [percent.removesuffix("_ms") for percent in PERCENTILES]
        charts += maker.charts(f"Latency of {name}", "ms", keys, names, logarithmic=True)
        keys = [("first_token", name, percent) for percent in PERCENTILES]
        title = f"Time to first token of {name}"
        charts += maker.charts(title, "ms", keys, names, logarithmic=True)
    for title, unit, part, of in (
        ("Errors a minute", "requests", "errors", profiles),
        ("Memory", "MiB", "memory", services),
        ("Processor time", "% of a core", "cpu", services),
    ):
        charts += maker.charts(title, unit, [(part, name, "") for name in of], of)
    return [chart.as_json() for chart in charts]


class _Maker:
    def __init__(
        self, columns: Columns, end_seconds: float, gaps: tuple[tuple[float, float], ...]
    ) -> None:
        self._columns, self._end, self._gaps = columns, end_seconds, gaps

    def charts(
        self,
        title: str,
        unit: str,
        keys: Sequence[tuple[str, str, str]],
        names: Sequence[str],
        *,
        logarithmic: bool = False,
    ) -> list[Chart]:
        """As many charts as it takes to give every curve a style of its own."""
        curves = [
            Curve(name, condense(column.seconds, column.values, self._end))
            for key, name in zip(keys, names, strict=True)
            if (column := self._columns.get(key)) and column.values
        ]
        groups = [curves[at : at + STYLES] for at in range(0, len(curves), STYLES)]
        many = len(groups) > 1
        return [
            Chart(
                f"{title} ({number} of {len(groups)})" if many else title,
                unit,
                logarithmic,
                round(self._end, 3),
                self._gaps,
                tuple(group),
            )
            for number, group in enumerate(groups, start=1)
        ]


def _read(folder: SoakFolder) -> tuple[Columns, float]:
    """Two numbers for each value of each minute file, and the end of the last one."""
    columns: Columns = defaultdict(Column)
    end = 0.0
    for minute in read_minutes(folder):
        at = (minute["begin_seconds"] + minute["end_seconds"]) / 2
        end = max(end, minute["end_seconds"])
        for name, row in minute["profiles"].items():
            columns["errors", name, ""].add(at, row["errors"])
            for part in ("latency", "first_token"):
                for percent in PERCENTILES if row[part] else ():
                    columns[part, name, percent].add(at, row[part][percent])
        for name, row in minute["services"].items():
            _add_service(columns, at, name, row)
    return columns, end


def _add_service(columns: Columns, at: float, name: str, row: Mapping[str, Any] | None) -> None:
    if row is None:
        return
    memory, share = row["memory_bytes"], row["cpu_ratio"]
    columns["memory", name, ""].add(at, None if memory is None else memory / MEBIBYTE)
    columns["cpu", name, ""].add(at, None if share is None else share * 100)
