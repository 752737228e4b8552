"""What is kept of a system that failed, and what a terminal shows meanwhile."""

from __future__ import annotations

import io
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding
from soak import hard_stop
from soak.hard_stop import describe, find_py_spy, stop_facts
from soak.judges import as_seen, counts_of
from soak.live import Snapshot, View, clock_of, line_of, table_of
from stack.identity import Identity

if TYPE_CHECKING:
    from pathlib import Path

FIGURES = {"p50_ms": 3.0, "p95_ms": 40.0, "p99_ms": 1200.5, "count": 9, "max_ms": 2000.0}
ROW = {
    "memory_bytes": 50 << 20,
    "cpu_ratio": None,
    "file_descriptors": 12,
    "threads": 3,
    "connections": None,
}


def finding(detector: str, outcome: str = FAILED, subject: str = "front/chat") -> Finding:
    return Finding(detector, subject, outcome, f"{detector}: expected none, got one")


def snapshot(**changes: Any) -> Snapshot:
    values: dict[str, Any] = {
        "at_seconds": 3725,
        "observed_seconds": 3725,
        "asked_seconds": 172_800,
        "sent": 6518,
        "planned": 302_400,
        "errors": 2,
        "ended": 6510,
        "in_flight": 3,
        "profiles": {
            "chat": {
                "per_second": 1,
                "requests": 60,
                "errors": 1,
                "latency": FIGURES,
                "first_token": None,
            }
        },
        "services": {"front": ROW, "hidden": None},
        **changes,
    }
    return Snapshot(**values)


def drawn(shot: Snapshot) -> str:
    stream = io.StringIO()
    Console(file=stream, width=120).print(table_of(shot))
    return stream.getvalue()


def test_the_table_shows_rates_percentiles_memory_errors_and_the_verdict() -> None:
    text = drawn(snapshot())
    for shown in ("1:02:05 of 48:00:00", "2 errors (0.03%)", "40.0", "1,200.5", "50.0", "3 in fl"):
        assert shown in text
    assert "nothing failed so far" in text


def test_a_failure_is_shown_at_once() -> None:
    assert "failed: a hang" in drawn(snapshot(worst=["a hang"]))
    assert line_of(snapshot(worst=["a hang"])).endswith("failed: a hang")


def test_nothing_measured_yet_is_shown_as_such() -> None:
    text = drawn(snapshot(profiles={}, services={}, ended=0))
    assert "errors   " in text
    assert "memory not seen" in line_of(snapshot(services={"front": None}))


def test_without_a_terminal_there_is_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    with View(live=False) as view:
        for second in range(121):
            if view.due(second):
                view.show(snapshot(at_seconds=second))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "6,518 of 302,400 sent" in lines[0]


def test_on_a_terminal_there_is_something_new_each_second() -> None:
    view = View(live=True)
    with view:
        assert all(view.due(second) for second in range(5))
        view.show(snapshot())


def test_a_gap_is_no_elapsed_time() -> None:
    shot = snapshot(observed_seconds=125)
    assert "soak 0:02:05 of 48:00:00 (not observed: 1:00:00);" in line_of(shot)
    assert "soak 0:02:05 of 48:00:00 (not observed: 1:00:00)" in drawn(shot)
    assert "not observed" not in line_of(snapshot())


def test_long_times_are_hours() -> None:
    assert clock_of(172_800) == "48:00:00"


def test_the_reason_of_a_stop_is_one_line_with_how_many_more() -> None:
    both = [finding("hang"), finding("timeouts")]
    assert describe(both) == "hang: front/chat: expected none, got one (and 1 more)"
    assert stop_facts(both, 1.5, ["no stacks"]) == {
        "at_seconds": 1.5,
        "why": describe(both),
        "detectors": ["hang", "timeouts"],
        "not_had": ["no stacks"],
    }


def test_missing_py_spy_is_no_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert find_py_spy() is None


@pytest.mark.skipif(find_py_spy() is None, reason="py-spy is not installed")
def test_the_stacks_of_a_process_that_ended_are_said_to_be_missing() -> None:
    program = find_py_spy()
    assert program is not None
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    text, trouble = hard_stop._stacks_of(program, process.pid)
    assert (text, trouble) == ("", "it has ended")


def test_a_program_that_fails_is_said_in_one_line() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    text, trouble = hard_stop._stacks_of("/bin/false", process.pid)
    process.kill()
    process.communicate()
    assert (text, trouble) == ("", "py-spy: no reason given")


def test_a_kind_that_no_detector_could_judge_is_not_zero() -> None:
    counts = counts_of([finding("leak", NOT_JUDGED), finding("restart", PASSED)])
    assert (counts["leaks"], counts["restarts"], counts["not_judged"]) == (None, 0, 1)
    assert counts["failed"] == 0


def test_nothing_looked_at_is_not_zero() -> None:
    assert counts_of([])["failed"] is None


def test_failed_findings_are_counted_by_kind() -> None:
    found = [finding("deadlock"), finding("hang"), finding("progress", PASSED)]
    assert (counts_of(found)["hangs"], counts_of(found)["failed"]) == (2, 2)


def test_a_rare_route_may_lack_samples_where_another_was_judged() -> None:
    rare = finding("drift", NOT_JUDGED, "front/session")
    assert counts_of([rare])["not_judged"] == 1
    assert counts_of([rare, finding("drift", PASSED)])["not_judged"] == 0


def test_identities_tell_lives_apart() -> None:
    assert as_seen(Identity("")).gone
    container = Identity("abc@2026", None, "abc", 2)
    assert as_seen(container).started_at == "2026"
    assert as_seen(container) != as_seen(Identity("abc@2027", None, "abc", 2))
    assert as_seen(Identity("1@x", 1)) != as_seen(Identity("1@y", 1))
    assert as_seen(Identity("1@x", 1)).known
