"""traffic.generator with steps: captures, pauses, the proof that a session is gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from traffic.clock import boottime_seconds
from traffic.sample import Outcome
from traffic.section import read_traffic

if TYPE_CHECKING:
    from traffic_system import FakeSystem

    from traffic.model import Profile

OK, WRONG, NOT_SENT = Outcome.OK, Outcome.WRONG, Outcome.NOT_SENT


def session(kind: str, *, pause_seconds: float = 0.0) -> Profile:
    """Create, heartbeat, destroy, gone: as the reference system's."""
    one = f"/session/{kind}/{{capture:ID}}"
    pause = {"after_seconds": pause_seconds}
    steps: list[dict[str, Any]] = [
        {"name": "create", "method": "POST", "path": f"/session/{kind}", "capture": {"ID": "/id"}},
        {"name": "heartbeat", "method": "POST", "path": f"{one}/beat", **pause},
        {"name": "destroy", "method": "DELETE", "path": one, **pause},
        {"name": "gone", "method": "POST", "path": f"{one}/beat", "proves_end": True},
    ]
    for step, status in zip(steps, (201, 200, 200, 409), strict=True):
        step["expect"] = {"status": status}
    item = {"name": "session", "service": "fake", "every_seconds": 0.1, "timeout_seconds": 5}
    (found,) = read_traffic([{**item, "steps": steps}])
    return found


def outcomes(system: FakeSystem) -> list[tuple[int, Outcome]]:
    return [(sample.step, sample.outcome) for sample in system.samples]


def test_a_session_is_made_used_ended_and_proven_gone(system: FakeSystem) -> None:
    """Its id has a space and a slash in it: captures are quoted in paths."""
    profile = session("good")
    system.send(profile, seconds=0.1)
    assert outcomes(system) == [(0, OK), (1, OK), (2, OK), (3, OK)]
    assert [begun[:3] for begun in system.started] == [(0, step, 0) for step in range(4)]
    assert profile.end_step == 3


def test_a_stuck_session_is_found_by_the_last_step(system: FakeSystem) -> None:
    system.send(session("stuck"), seconds=0.1)
    assert outcomes(system)[-1] == (3, WRONG)
    assert system.texts[-1] == 'expected status 409, got 200: {"s": "active"}'


def test_a_failed_heartbeat_does_not_keep_the_session_from_being_destroyed(
    system: FakeSystem,
) -> None:
    system.send(session("weak"), seconds=0.1)
    assert outcomes(system) == [(0, OK), (1, WRONG), (2, OK), (3, OK)]


def test_steps_without_their_capture_are_recorded_as_not_sent(system: FakeSystem) -> None:
    system.send(session("nameless"), seconds=0.1)
    assert outcomes(system) == [(0, OK), (1, NOT_SENT), (2, NOT_SENT), (3, NOT_SENT)]
    assert system.texts[1] == "not sent: no answer before it gave {capture:ID}"


def test_a_step_is_due_when_the_answer_before_and_the_pause_are_over(system: FakeSystem) -> None:
    system.send(session("good", pause_seconds=0.4), seconds=0.1, speed=2)
    first = [sample for sample in system.samples if sample.sequence == 0]
    created, beaten, destroyed, gone = first
    assert abs(beaten.intended_seconds - created.done_seconds - 0.2) < 1e-6
    assert abs(gone.intended_seconds - destroyed.done_seconds) < 1e-6


def test_a_session_that_slept_with_the_machine_is_ended_after_it(system: FakeSystem) -> None:
    """Its steps are overdue by more than their limit: no time-out of the system."""
    begun = boottime_seconds()

    def clock() -> float:
        seconds = boottime_seconds() - begun
        return seconds if seconds < 0.5 else seconds + 60

    profile = session("good", pause_seconds=1)
    report = system.send(profile, seconds=0.1, clock=clock, start=0.0)
    assert outcomes(system) == [(0, OK), (1, OK), (2, OK), (3, OK)]
    beaten = system.samples[1]
    assert beaten.intended_seconds > 60
    assert beaten.latency_seconds < 5
    assert report.worst_lag_seconds > 50


def test_a_stop_cuts_pauses_short_so_that_no_session_is_left(system: FakeSystem) -> None:
    async def stop_early() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.3, stop.set)
        await system.run(session("good", pause_seconds=3000), seconds=3600, stop=stop)

    asyncio.run(stop_early())
    assert {outcome for _, outcome in outcomes(system)} == {OK}
    ended = sum(sample.step == 3 for sample in system.samples)
    assert ended == sum(sample.step == 0 for sample in system.samples) > 0
