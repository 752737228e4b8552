"""traffic.locust_engine: a master and two workers give what one generator gives."""

from __future__ import annotations

import asyncio
import math
import socketserver
import ssl
import sys
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests
from locust_system import ONE, Answering, LocustSystem, Making, later, make_certificate, outcomes

from common.cli import ScriptError
from detectors.finding import FAILED, NOT_JUDGED, PASSED
from soak.watching import Watching
from traffic.clock import boottime_seconds
from traffic.generator import run_traffic
from traffic.latency import measure
from traffic.sample import Outcome
from traffic.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from traffic_system import FakeSystem

    from detectors.finding import Finding
    from traffic.generator import TrafficReport
    from traffic.sample import Sample

pytestmark = pytest.mark.slow
SESSION: dict[str, Any] = {
    "name": "session",
    "service": "front",
    "every_seconds": 0.5,
    "timeout_seconds": 2,
    "steps": [
        {
            "name": "create",
            "method": "POST",
            "path": "/session/good",
            "capture": {"ID": "/id"},
            "expect": {"status": 201},
        },
        {
            "name": "destroy",
            "after_seconds": 0.2,
            "method": "DELETE",
            "path": "/session/good/{capture:ID}",
            "expect": {"status": 200, "json": {"/s": "destroyed"}},
        },
    ],
}
STREAM = {
    **ONE,
    "name": "stream",
    "every_seconds": 0.25,
    "path": "/split",
    "stream": True,
    "first_token": "event: token",
    "expect": {"status": 200, "contains": ["event: done"]},
}


@pytest.fixture
def make(
    start_system: Callable[..., FakeSystem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Making]:
    making = Making(start_system, tmp_path, monkeypatch)
    yield making
    making.close()


def test_two_workers_send_exactly_what_was_planned(make: Making) -> None:
    """Streams, sessions and single requests, each start once, at either worker."""
    system = make(ONE, SESSION, STREAM)
    report = system.send(3)
    schedule = Schedule(system.stack.traffic)
    assert report.planned_starts == report.due_starts == report.sent_starts == 30 + 6 + 12
    assert len(system.samples) == schedule.planned_requests(3) == 30 + 12 + 12
    assert outcomes(system) == {"OK": 54}
    begun = {(profile, sequence): at for profile, step, sequence, at in system.started if not step}
    planned = {
        (start.profile, start.sequence): start.intended_seconds for start in schedule.starts(0, 3)
    }
    assert begun == planned
    for sample in system.samples:
        times = [sample.intended_seconds, sample.sent_seconds, sample.first_byte_seconds]
        token = sample.first_token_seconds
        times += [] if math.isnan(token) else [token]
        assert [*times, sample.done_seconds] == sorted([*times, sample.done_seconds])
        assert math.isnan(token) == (sample.profile != 2)
    workers = system.engine.facts()["workers"]
    assert sum(worker["starts_sent"] for worker in workers) == 48
    assert all(worker["starts_sent"] > 15 for worker in workers)
    assert {finding.outcome for finding in system.engine.findings()} == {PASSED}
    assert [worker.wait(10) for worker in system.workers] == [0, 0]
    assert not {"gevent", "locust", "zmq"} & sys.modules.keys()


def test_a_stall_of_two_seconds_shows_in_the_percentiles(make: Making) -> None:
    """50 requests a second; Locust's own loop and figures say a p95 of 0.005 to 0.11 s.

    The truth is when the system says that it answered, counted from the intended start.
    """
    often = {**ONE, "path": "/number/{sequence}", "every_seconds": 0.02, "timeout_seconds": 10}
    system = make(often, server=("8",))
    with system.engine:
        begun = boottime_seconds() + 0.5
        asyncio.run(system.run(20, start=begun))
    told = requests.get(f"{system.url}/answered", timeout=10).json()
    answered = {int(number): at - begun for number, at in told.items()}
    assert outcomes(system) == {"OK": 1000}
    truth = sorted(answered[item.sequence] - item.intended_seconds for item in system.samples)
    figures = measure(system.samples, ["one"]).figures()["overall"]["latency"]
    assert figures["p95_ms"] == pytest.approx(truth[949] * 1000, rel=0.05)
    assert figures["p99_ms"] == pytest.approx(truth[989] * 1000, rel=0.05)
    assert truth[949] > 0.9
    assert truth[989] > 1.7


def test_a_killed_worker_is_named_and_its_requests_count_as_not_sent(make: Making) -> None:
    """Every start of the schedule gives its samples, also those of nobody."""
    slow = {**ONE, "name": "slow", "path": "/slow", "timeout_seconds": 60}
    steady = {**STREAM, "path": "/stream", "every_seconds": 0.05}
    system = make(ONE, SESSION, slow, steady, lost_seconds=3)
    with system.engine:
        later(2.5, system.workers[1].kill)
        report, known, found = asyncio.run(_watched(system, 7))
        findings = system.engine.findings()
    planned = Schedule(system.stack.traffic).planned_requests(7)
    assert len(system.samples) == planned == 70 + 28 + 70 + 140
    places = [(item.profile, item.step, item.sequence) for item in system.samples]
    assert len(set(places)) == planned
    texts = dict(zip(places, system.texts, strict=True))
    lost = [item for item in system.samples if "worker-1 was lost" in str(texts[_place(item)])]
    assert {item.outcome for item in lost} == {Outcome.NOT_SENT, Outcome.UNFINISHED}
    assert all(item.outcome is Outcome.NOT_SENT for item in lost if item.intended_seconds > 3)
    after = [item for item in system.samples if item.intended_seconds > 4 and not item.step]
    others = [item for item in after if item not in lost]
    assert {item.outcome for item in others} == {Outcome.OK, Outcome.UNFINISHED}
    assert abs(len(others) - len(after) / 2) <= 2
    assert (report.planned_starts, report.due_starts) == (294, 294)
    assert report.sent_starts < 230
    not_judged = [finding for finding in findings if finding.outcome == NOT_JUDGED]
    assert [finding.subject for finding in not_judged] == ["worker-1"]
    assert "nothing was heard of it for" in not_judged[0].detail
    # While it was silent nothing could be judged; then the clock went on.
    behind = [now - seconds for now, seconds in known]
    assert all(late >= 0 for late in behind)
    assert [seconds for _, seconds in known] == sorted(seconds for _, seconds in known)
    assert max(behind) > 2
    assert behind[-1] < max(behind) - 1
    assert found == []


async def _watched(
    system: LocustSystem, seconds: float
) -> tuple[TrafficReport, list[tuple[float, float]], list[Finding]]:
    """Run, and look each tenth of a second until when everything was told, and what hangs."""
    watching = Watching(system.stack.traffic)
    start, known, found = boottime_seconds() + 0.5, [], []

    def take(sample: Sample, text: str | None) -> None:
        watching.ended(sample)
        system.take(sample, text)

    options = {"on_start": watching.started, "on_sample": take, "drain_seconds": 1}
    running = asyncio.create_task(system.run(seconds, start=start, **options))
    while not running.done():
        now = boottime_seconds() - start
        known.append((now, system.engine.known_seconds(now)))
        found += [item for item in watching.check(known[-1][1]) if item.outcome == FAILED]
        await asyncio.wait({running}, timeout=0.1)
    return await running, known, found


def test_what_comes_of_a_request_does_not_depend_on_the_engine(make: Making) -> None:
    """Each fault gives the same outcome and status as with aiohttp."""
    paths = ["/ok", "/broken", "/redirect", "/slow", "/drip", "/cut", "/nonsense", "/nothing"]
    faults = [
        {**ONE, "name": path[1:], "path": path, "every_seconds": 1, "timeout_seconds": 0.5}
        for path in [*paths, "/huge", "/split", "/no-done"]
    ]
    wrong = {
        **ONE,
        "name": "wrong",
        "every_seconds": 1,
        "expect": {"status": 200, "json": {"/x": 1}},
    }
    no_token = {**STREAM, "name": "no-token", "every_seconds": 1, "first_token": "none"}
    nameless = {**SESSION, "name": "nameless", "every_seconds": 1}
    nameless["steps"] = [
        {**step, "path": step["path"].replace("good", "nameless")} for step in nameless["steps"]
    ]
    system = make(*faults, wrong, no_token, nameless)
    system.send(1)
    by_locust = {_place(item): (item.outcome, item.status) for item in system.samples}
    texts = dict(zip(map(_place, system.samples), system.texts, strict=True))
    system.samples.clear()

    async def with_aiohttp() -> None:
        await run_traffic(
            system.stack.traffic,
            system.target,
            start=boottime_seconds(),
            stop=asyncio.Event(),
            duration_seconds=1,
            on_sample=system.take,
        )

    asyncio.run(with_aiohttp())
    assert by_locust == {_place(item): (item.outcome, item.status) for item in system.samples}
    unseen = {Outcome.UNFINISHED, Outcome.LATE}
    assert {outcome for outcome, _ in by_locust.values()} == set(Outcome) - unseen
    assert "no answer within 0.5 s" in str(texts[3, 0, 0])
    assert "no whole answer but 13 bytes: 87 bytes of the answer are missing" in str(texts[5, 0, 0])


def test_a_system_behind_tls_is_asked_only_by_who_trusts_its_certificate(
    make: Making, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answering) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        system = make(ONE, url=f"https://127.0.0.1:{server.server_address[1]}")
        system.environ_of = {"worker-0": {"SSL_CERT_FILE": str(certificate)}}
        system.send(1)
        server.shutdown()
    good = {item.sequence for item in system.samples if item.outcome is Outcome.OK}
    assert good in ({0, 2, 4, 6, 8}, {1, 3, 5, 7, 9})
    assert outcomes(system) == {"ERROR": 5, "OK": 5}
    refused = [text for text in system.texts if text]
    assert all("CERTIFICATE_VERIFY_FAILED" in text for text in refused)


def test_a_stop_lets_what_is_in_flight_end(make: Making) -> None:
    system = make(STREAM, SESSION)

    async def stop_early() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(2, stop.set)
        report = await system.run(3600, stop=stop)
        assert report.due_starts < 20
        assert report.planned_starts > 10_000

    with system.engine:
        asyncio.run(stop_early())
    assert outcomes(system).keys() == {"OK"}
    # So that one that is started again and again is there when the soak is resumed.
    assert [worker.wait(10) for worker in system.workers] == [2, 2]
    assert "sent away: the soak ended before its time" in system.workers[0].communicate()[1]


def test_a_cancelled_run_records_what_was_in_flight(make: Making) -> None:
    system = make({**ONE, "path": "/slow", "timeout_seconds": 60})

    async def cancel() -> None:
        running = asyncio.create_task(system.run(3600))
        await asyncio.sleep(3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with system.engine:
        asyncio.run(cancel())
    assert len(system.samples) == len(system.started) > 5
    assert outcomes(system).keys() == {"UNFINISHED"}


def test_a_master_that_dies_ends_the_traffic_and_the_workers(make: Making) -> None:
    system = make({**ONE, "path": "/slow", "timeout_seconds": 60}, lost_seconds=3)
    with system.engine:
        later(2.5, psutil.Process(system.engine.pid).kill)
        with pytest.raises(ScriptError, match="the Locust master ended"):
            asyncio.run(system.run(3600))
    assert len(system.samples) == len(system.started) > 2
    assert [worker.wait(30) for worker in system.workers] == [2, 2]
    assert "the master fell silent" in system.workers[0].communicate()[1]


def _place(sample: Sample) -> tuple[int, int, int]:
    return sample.profile, sample.step, sample.sequence
