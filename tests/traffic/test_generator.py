"""traffic.generator: an open loop that hides no stall and drops no request."""

from __future__ import annotations

import asyncio
import math
import re
from typing import TYPE_CHECKING

import pytest
import requests
from traffic_system import profile

from common.cli import ScriptError
from traffic.clock import boottime_seconds
from traffic.latency import measure
from traffic.sample import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from traffic_system import FakeSystem

    from traffic.sample import Sample


@pytest.mark.slow
def test_a_stall_of_two_seconds_shows_in_the_percentiles(
    start_system: Callable[..., FakeSystem],
) -> None:
    """50 requests a second; closed loops report a p95 of 0.005 to 0.11 s for the same.

    The truth is when the system says that it answered, counted from the intended start.
    Never is less reported than the truth. A busy machine, on which the answers lie for a
    while before the generator gets to read them, adds to it: one of three runs must fit.
    """
    ratios = [_reported_over_truth(start_system("8"))]
    while max(ratios[-1]) > 1.05 and len(ratios) < 3:
        ratios.append(_reported_over_truth(start_system("8")))
    assert min(min(pair) for pair in ratios) >= 0.95
    assert min(max(pair) for pair in ratios) <= 1.05


def _reported_over_truth(system: FakeSystem) -> tuple[float, float]:
    """The 95th and the 99th percentile of 1,000 requests, each over the true one."""
    begun = _now()
    report = system.send(profile("/number/{sequence}", every_seconds=0.02), seconds=20, start=begun)
    assert (report.due_starts, len(system.samples)) == (1000, 1000)
    told = requests.get(f"{system.url}/answered", timeout=10).json()
    answered = {int(number): at - begun for number, at in told.items()}
    truth = sorted(answered[item.sequence] - item.intended_seconds for item in system.samples)
    assert truth[949] > 0.9
    assert truth[989] > 1.7
    latency = measure(system.samples, ["one"]).figures()["overall"]["latency"]
    return latency["p95_ms"] / 1000 / truth[949], latency["p99_ms"] / 1000 / truth[989]


def test_every_request_gives_one_sample_with_its_times_in_order(system: FakeSystem) -> None:
    report = system.send(profile("/ok"), seconds=0.5)
    assert (report.planned_starts, report.sent_starts, report.unfinished) == (5, 5, 0)
    assert sorted(sample.sequence for sample in system.samples) == [0, 1, 2, 3, 4]
    assert [sample.outcome for sample in system.samples] == [Outcome.OK] * 5
    for sample in system.samples:
        times = sample.intended_seconds, sample.sent_seconds, sample.first_byte_seconds
        assert [*times, sample.done_seconds] == sorted([*times, sample.done_seconds])
        assert math.isnan(sample.first_token_seconds)
    assert {begun[2] for begun in system.started} == {0, 1, 2, 3, 4}


def test_a_request_never_waits_for_the_answer_before_it(system: FakeSystem) -> None:
    report = system.send(profile("/slow", timeout_seconds=1), seconds=0.5)
    assert report.most_in_flight == 5
    assert [sample.outcome for sample in system.samples] == [Outcome.TIMEOUT] * 5


def test_time_to_first_token_is_not_time_to_headers(system: FakeSystem) -> None:
    stream = {"stream": True, "first_token": "event: token"}
    system.send(
        profile("/stream", **stream, expect={"status": 200, "contains": ["event: done"]}),
        seconds=0.2,
    )
    for sample in system.samples:
        assert sample.outcome is Outcome.OK
        assert sample.first_token_seconds - sample.first_byte_seconds > 0.1
        assert sample.done_seconds - sample.first_token_seconds > 0.1


def test_a_first_token_in_two_parts_is_found(system: FakeSystem) -> None:
    system.send(profile("/split", stream=True, first_token="event: token"), seconds=0.1)
    (sample,) = system.samples
    assert sample.outcome is Outcome.OK
    assert not math.isnan(sample.first_token_seconds)


@pytest.mark.parametrize(
    ("path", "changes", "expected", "says"),
    [
        ("/broken", {}, (Outcome.WRONG, 503), "expected status 200, got 503: .*planted"),
        ("/redirect", {}, (Outcome.WRONG, 302), "expected status 200, got 302"),
        ("/ok", {"expect": {"status": 200, "json": {"/ok": False}}}, (Outcome.WRONG, 200), "/ok: "),
        (
            "/ok",
            {"expect": {"status": 200, "contains": ["x"]}},
            (Outcome.WRONG, 200),
            "expected 'x'",
        ),
        (
            "/no-done",
            {"expect": {"status": 200, "contains": ["done"]}},
            (Outcome.WRONG, 200),
            "done",
        ),
        ("/ok", {"stream": True, "first_token": "tok"}, (Outcome.WRONG, 200), "first token 'tok'"),
        ("/huge", {}, (Outcome.WRONG, 200), "at most 4194304 bytes"),
        ("/slow", {"timeout_seconds": 0.3}, (Outcome.TIMEOUT, 0), "no answer within 0.3 s"),
        ("/drip", {"timeout_seconds": 0.3}, (Outcome.TIMEOUT, 200), "bytes within 0.3 s"),
        ("/cut", {}, (Outcome.ERROR, 200), "no whole answer but 13 bytes"),
        ("/nonsense", {}, (Outcome.ERROR, 0), "no answer: "),
        ("/nothing", {}, (Outcome.ERROR, 0), "no answer: "),
    ],
)
def test_what_is_no_good_answer_is_an_error_with_a_text(
    system: FakeSystem,
    path: str,
    changes: dict[str, object],
    expected: tuple[Outcome, int],
    says: str,
) -> None:
    system.send(profile(path, **changes), seconds=0.1)
    (sample,), (text,) = system.samples, system.texts
    assert (sample.outcome, sample.status) == expected
    assert re.search(says, text or "")
    assert sample.outcome.is_error


def test_a_refused_connection_is_an_error_without_a_latency(system: FakeSystem) -> None:
    system.process.kill()
    system.process.wait()
    system.send(profile("/ok"), seconds=0.2)
    assert [sample.outcome for sample in system.samples] == [Outcome.ERROR] * 2
    assert measure(system.samples, ["one"]).figures()["overall"]["latency"] is None


def test_the_time_limit_counts_from_the_intended_start(system: FakeSystem) -> None:
    """The generator is 1.5 s late: of two seconds half a second is left, of one nothing."""
    system.send(profile("/slow", timeout_seconds=2), seconds=0.1, start=_now() - 1.5)
    (sample,) = system.samples
    assert sample.outcome is Outcome.TIMEOUT
    assert sample.done_seconds == pytest.approx(sample.intended_seconds + 2, abs=0.3)
    system.send(profile("/slow", timeout_seconds=1), seconds=0.1, start=_now() - 1.5)
    assert system.samples[1].outcome is Outcome.LATE
    assert "the generator was 1." in (system.texts[1] or "")


def test_what_is_beyond_the_limit_in_flight_is_recorded_not_dropped(system: FakeSystem) -> None:
    slow = profile("/slow", timeout_seconds=1)
    report = system.send(slow, seconds=0.5, in_flight_limit=2)
    outcomes = [sample.outcome for sample in system.samples]
    assert (outcomes.count(Outcome.NOT_SENT), outcomes.count(Outcome.TIMEOUT)) == (3, 2)
    assert "not sent: 2 in flight" in system.texts
    assert (report.due_starts, report.sent_starts) == (5, 2)
    assert len(system.started) == 2


def test_no_secret_gets_into_a_text_or_out_of_a_header(system: FakeSystem) -> None:
    headers = {"Authorization": "Bearer {secret:KEY}"}
    wrong = {"status": 200, "json": {"/head": 1}}
    system.send(profile("/echo", headers=headers, expect=wrong), seconds=0.1)
    (text,) = system.texts
    assert "Bearer [redacted]" in (text or "")


def test_bodies_are_sent_in_turn_and_numbered(system: FakeSystem) -> None:
    turns = profile(
        "/echo",
        method="POST",
        bodies=[{"n": "{sequence}"}, {"text": "number {sequence}"}],
        expect={"status": 200, "json": {"/body/n": "{sequence}"}},
    )
    system.send(turns, seconds=0.2)
    by_number = dict(zip((s.sequence for s in system.samples), system.texts, strict=True))
    assert by_number == {0: None, 1: "/body/n: expected 1, got None"}


def test_a_stop_lets_what_is_in_flight_end(system: FakeSystem) -> None:
    async def stop_early() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.25, stop.set)
        report = await system.run(profile("/stream"), seconds=3600, stop=stop)
        assert report.due_starts == len(system.samples) < 10

    asyncio.run(stop_early())
    assert {sample.outcome for sample in system.samples} == {Outcome.OK}


def test_a_stop_that_can_not_wait_any_longer_says_what_was_in_flight(system: FakeSystem) -> None:
    report = system.send(profile("/slow", timeout_seconds=60), seconds=0.3, drain_seconds=0.1)
    assert report.unfinished == 3
    assert [sample.outcome for sample in system.samples] == [Outcome.UNFINISHED] * 3
    assert not any(sample.outcome.is_error for sample in system.samples)


def test_a_cancelled_run_records_what_was_in_flight(system: FakeSystem) -> None:
    async def cancel() -> None:
        running = asyncio.create_task(
            system.run(profile("/slow", timeout_seconds=60), seconds=3600)
        )
        await asyncio.sleep(0.45)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancel())
    assert len(system.samples) == len(system.started) > 2
    assert {sample.outcome for sample in system.samples} == {Outcome.UNFINISHED}


def test_a_journal_that_can_not_be_written_ends_the_traffic(system: FakeSystem) -> None:
    def full(_sample: Sample, _text: str | None) -> None:
        raise ScriptError("no space")

    with pytest.raises(ScriptError, match="no space"):
        system.send(profile("/ok"), seconds=3600, on_sample=full)


def test_a_resumed_run_goes_on_with_its_numbers(system: FakeSystem) -> None:
    system.send(profile("/ok"), seconds=1.2, begin_seconds=1.0, start=_now() - 1.0)
    assert [sample.sequence for sample in system.samples] == [10, 11]


def test_a_clock_that_jumps_as_after_sleep_sends_no_flood(system: FakeSystem) -> None:
    """An hour of suspend: what is overdue is recorded, only what can still be in time is sent."""
    begun = _now()

    def clock() -> float:
        seconds = boottime_seconds() - begun
        return seconds if seconds < 0.25 else seconds + 60

    report = system.send(profile("/ok"), seconds=60.5, clock=clock, start=0.0)
    outcomes = [sample.outcome for sample in system.samples]
    assert len(outcomes) == report.planned_starts == 605
    assert outcomes.count(Outcome.LATE) > 570
    assert report.worst_lag_seconds > 55
    overall = measure(system.samples, ["one"]).overall()
    assert overall.errors == outcomes.count(Outcome.TIMEOUT) < 30
    assert overall.sent == report.sent_starts < 35
    assert overall.worst_lag_seconds == pytest.approx(report.worst_lag_seconds, abs=1)


def _now() -> float:
    return boottime_seconds()


def test_a_sleep_of_the_machine_is_noticed_while_waiting(system: FakeSystem) -> None:
    """The event loop's own clock stands still meanwhile: it would sleep 40 minutes too long."""
    begun = _now()

    def clock() -> float:
        seconds = boottime_seconds() - begun
        return seconds if seconds < 0.25 else seconds + 3000

    async def bounded() -> None:
        async with asyncio.timeout(60):
            rare = profile("/ok", every_seconds=5000)
            await system.run(rare, seconds=2600, clock=clock, start=0.0)

    asyncio.run(bounded())
    assert [sample.outcome for sample in system.samples] == [Outcome.LATE]


def test_every_request_has_a_connection_of_its_own_and_no_proxy(
    system: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kept connection was seen to answer after its listener was closed."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    wrong = {"status": 200, "json": {"/head": 1}}
    system.send(profile("/echo", method="POST", body={"a": 1}, expect=wrong), seconds=0.2)
    for text in system.texts:
        assert "Connection: close" in (text or "")
        assert "Content-Type: application/json" in (text or "")
