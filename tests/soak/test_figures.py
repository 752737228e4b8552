"""What a soak comes to: computed from the disk, with what was not observed left out."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest

from evidence.curves import read_chart
from soak.clock import Moment
from soak.figures import (
    bounds_of,
    minute_figures,
    planned_requests,
    request_figures,
    service_figures,
    span_figures,
)
from soak.folder import SoakFolder
from soak.header import Header
from soak.minutes import Minute
from soak.plots import charts_of
from soak.spans import Piece, gaps_of
from traffic.journal import Journal
from traffic.model import Expect, Profile, Step
from traffic.pieces import read_pieces
from traffic.record import PieceHeader
from traffic.sample import Outcome, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STEP = Step("ask", "GET", "/", {}, (None,), Expect(200))
CHAT = Profile("chat", "front", Fraction(1), (STEP,))
PIECE = Piece(1, 0.0, 120.0, "boot", {}, {}, "completed")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SoakFolder]:
    header = Header("1", "fake", "aa", "cc", None, None, "process", 120.0, 1.0, "aiohttp")
    made = SoakFolder.create(tmp_path, header, Moment("boot", 0.0, 0.0))
    yield made
    made.close()


def service(**changes: Any) -> dict[str, Any]:
    return {
        "memory_bytes": 100,
        "memory_kind": "uss",
        "cpu_seconds": 1.0,
        "cpu_ratio": 0.1,
        "processes": 1,
        "file_descriptors": 5,
        "threads": 2,
        "connections": 1,
        "restarts": 0,
        **changes,
    }


def write_minute(
    folder: SoakFolder, number: int, row: dict[str, Any] | None, seconds: float = 60
) -> None:
    """Minute `number` with one request that took 10 ms a minute number."""
    begin = (number - 1) * 60.0
    minute = Minute(["chat"], begin)
    minute.add(Sample(0, 0, number, begin, begin, done_seconds=begin + number / 100))
    value = minute.as_json(
        number=number,
        piece=1,
        end_seconds=begin + seconds,
        partial=seconds < 60,
        in_flight=0,
        services={"front": row},
        harness={"cpu_seconds": 0.1, "memory_bytes": 10},
    )
    folder.write_minute(number, value)


def test_a_whole_soak_is_unbroken(folder: SoakFolder) -> None:
    folder.write_piece(PIECE)
    found = span_figures(folder)
    assert (found["unbroken_seconds"], found["unbroken_ratio"]) == (120, 1)
    assert found["pieces"][0]["ended"] == "completed"


def test_a_shorter_span_is_no_measurement_of_the_whole(folder: SoakFolder) -> None:
    """As much observed time with a gap in it: never passed, and no failure of the system."""
    folder.write_piece(replace(PIECE, end_seconds=60.0, ended=None))
    folder.write_piece(replace(PIECE, number=2, begin_seconds=70.0, end_seconds=130.0))
    found = span_figures(folder)
    assert found["observed_seconds"] == 120
    assert (found["unbroken_seconds"], found["unbroken_ratio"]) == (None, None)
    assert found["longest_span_seconds"] == 60
    assert found["pieces"][0]["ended"] == "killed"


def test_a_missing_minute_is_counted(folder: SoakFolder) -> None:
    folder.write_piece(PIECE)
    write_minute(folder, 1, service())
    assert minute_figures(folder) == {"expected": 2, "written": 1, "partial": 0, "missing": 1}
    write_minute(folder, 2, service(), seconds=20)
    assert minute_figures(folder)["missing"] == 1
    write_minute(folder, 2, service())
    assert minute_figures(folder)["missing"] == 0


def test_services_are_summed_up_and_one_never_seen_is_none(folder: SoakFolder) -> None:
    for number, memory in enumerate((100, 300, 110), start=1):
        write_minute(folder, number, service(memory_bytes=memory, threads=number))
    found = service_figures(folder, ["front", "hidden"])
    assert found["hidden"] is None
    assert found["front"]["memory_growth_ratio"] == 0.1
    assert found["front"]["memory_most_bytes"] == 300
    assert found["front"]["threads_most"] == 3


def test_memory_that_was_never_read_has_no_growth(folder: SoakFolder) -> None:
    write_minute(folder, 1, service(memory_bytes=None))
    found = service_figures(folder, ["front"])["front"]
    assert (found["memory_growth_ratio"], found["memory_most_bytes"]) == (None, None)


def test_only_what_was_due_while_somebody_looked_was_planned() -> None:
    whole = planned_requests([CHAT], [PIECE], 1.0)
    asleep = planned_requests([CHAT], [replace(PIECE, sleeps=((30.0, 60.0),))], 1.0)
    stopped = planned_requests([CHAT], [replace(PIECE, traffic_end_seconds=50.0)], 1.0)
    assert (whole, asleep, stopped) == ([120], [90], [50])
    assert planned_requests([CHAT], [PIECE], 2.0) == [240]


def journal(folder: SoakFolder, samples: list[Sample]) -> None:
    header = PieceHeader("1", 1, "boot", 0.0, 0.0, "now", [CHAT.as_json()])
    with Journal(folder.path, header) as made:
        for sample in samples:
            made.add(sample)


def test_requests_are_counted_from_the_samples(folder: SoakFolder) -> None:
    good = [Sample(0, 0, n, n, n, done_seconds=n + 0.01) for n in range(118)]
    bad = Sample(0, 0, 118, 118, 118, done_seconds=118.1, outcome=Outcome.WRONG)
    never = Sample(0, 0, 119, 119, outcome=Outcome.NOT_SENT)
    journal(folder, [*good, bad, never])
    found = request_figures(read_pieces(folder.path), [CHAT], [PIECE], 1.0)
    counts = found["requests"]
    assert (counts["planned"], counts["sent"], counts["ok"], counts["errors"]) == (120, 119, 118, 2)
    assert counts["error_ratio"] == 2 / 120
    assert counts["error_ratio_low"] < 2 / 120 < counts["error_ratio_high"]
    assert counts["sent_ratio"] == round(119 / 120, 6)


def test_what_a_killed_harness_took_with_it_is_no_shortfall(folder: SoakFolder) -> None:
    journal(folder, [Sample(0, 0, n, n, n, done_seconds=n + 0.01) for n in range(100)])
    pieces = [replace(PIECE, ended=None)]
    found = request_figures(read_pieces(folder.path), [CHAT], pieces, 1.0)
    assert (found["requests"]["planned"], found["requests"]["sent_ratio"]) == (100, 1)


def test_nothing_sent_measures_nothing(folder: SoakFolder) -> None:
    found = request_figures([], [CHAT], [], 1.0)
    assert found["requests"]["error_ratio"] is None
    assert found["requests"]["sent_ratio"] is None
    assert found["latency"] is None
    assert bounds_of(found["requests"], 0.0, 0)["hours_between_restarts_above"] is None
    assert list(folder.minutes) == []


def test_two_days_without_a_restart_show_16_hours() -> None:
    shown = bounds_of({"error_ratio_high": 0.001}, 172_800, 0)
    assert shown["hours_between_restarts_above"] == pytest.approx(16.02, abs=0.01)
    assert bounds_of({"error_ratio_high": None}, 172_800, None) == {
        "error_ratio_below": None,
        "hours_between_restarts_above": None,
    }


def test_charts_show_every_measured_value_and_every_gap(folder: SoakFolder) -> None:
    folder.write_piece(replace(PIECE, end_seconds=60.0))
    folder.write_piece(replace(PIECE, number=2, begin_seconds=120.0, end_seconds=180.0))
    write_minute(folder, 1, service())
    write_minute(folder, 3, None)
    charts = charts_of(folder, ["chat"], ["front"], gaps_of(folder.pieces()))
    titles = [chart["title"] for chart in charts]
    assert titles == ["Latency of chat", "Errors a minute", "Memory", "Processor time"]
    latency = read_chart(charts[0])
    assert [point[2] for point in latency.curves[0].points] == [10.0, 30.0]
    assert latency.gaps == ((60.0, 120.0),)
    assert len(read_chart(charts[2]).curves[0].points) == 1


def test_seven_services_are_shown_four_at_a_time(folder: SoakFolder) -> None:
    minute = Minute(["chat"], 0.0).as_json(
        number=1,
        piece=1,
        end_seconds=60.0,
        partial=False,
        in_flight=0,
        services={f"service-{number}": service() for number in range(7)},
        harness={"cpu_seconds": 0.1, "memory_bytes": 10},
    )
    folder.write_minute(1, minute)
    names = [f"service-{number}" for number in range(7)]
    charts = charts_of(folder, ["chat"], names, [])
    memory = [chart for chart in charts if chart["title"].startswith("Memory")]
    assert [chart["title"] for chart in memory] == ["Memory (1 of 2)", "Memory (2 of 2)"]
    assert [len(chart["curves"]) for chart in memory] == [4, 3]


def test_what_happened_while_we_slept_counts_neither_way(folder: SoakFolder) -> None:
    """A machine that slept for half a minute sent 30 requests too late, and lost one answer."""
    awake = [Sample(0, 0, n, n, n, done_seconds=n + 0.01) for n in (*range(30), *range(60, 120))]
    late = [Sample(0, 0, n, n, outcome=Outcome.NOT_SENT) for n in range(31, 60)]
    lost = Sample(0, 0, 30, 30.0, 30.0, done_seconds=60.1, outcome=Outcome.TIMEOUT)
    journal(folder, [*awake, lost, *late])
    slept = replace(PIECE, sleeps=((30.2, 60.0),))
    counts = request_figures(read_pieces(folder.path), [CHAT], [slept], 1.0)["requests"]
    assert (counts["ok"], counts["errors"], counts["unfinished"]) == (90, 0, 1)
    unslept = request_figures(read_pieces(folder.path), [CHAT], [PIECE], 1.0)["requests"]
    assert unslept["errors"] == 30
