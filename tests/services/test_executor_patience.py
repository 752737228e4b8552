"""The worker beside neighbours that are slow, away or unwilling: nothing is lost or counted twice.

The neighbours are real; a door before one of them is late, or says what it is told to.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from service_backends import BOTH
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount

from services.executor import neighbours, worker
from services.queue import open_queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from service_backends import Backend
    from service_protocols import Eventually, Serve, System
    from starlette.types import ASGIApp, Receive, Scope, Send

    Waiting = Callable[[], list[tuple[str, int]]]

BACKENDS = BOTH


class Door:
    """Stands before a neighbour: what ends in `path` is answered late, or with `status`."""

    def __init__(self, app: ASGIApp, path: str, *, status: int = 0, seconds: float = 0.0) -> None:
        self._app = app
        self._path = path
        self.status = status
        self.seconds = seconds
        self.knocks = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith(self._path):
            self.knocks += 1
            if self.status:
                await Response("{}", self.status)(scope, receive, send)
                return
            # In a task of its own: the request is done even where nobody waits any more.
            work = asyncio.create_task(self._late(scope, receive, send))
            await asyncio.shield(work)
            return
        await self._app(scope, receive, send)

    async def _late(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await receive()
        await asyncio.sleep(self.seconds)
        given = iter([body])

        async def again() -> Any:
            return next(given, {"type": "http.disconnect"})

        await self._app(scope, again, send)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch, set_lease: Callable[[float], None]) -> None:
    """Short leases and no repeated calls, so that deliveries follow each other quickly."""
    monkeypatch.setattr(neighbours, "ATTEMPTS", 1)
    set_lease(0.3)
    monkeypatch.setattr(worker, "_EXTEND_SECONDS", 0.1)


@pytest.fixture
def waiting(backend: Backend) -> Waiting:
    """The messages that are not acknowledged."""
    return lambda: [(message.job_id, message.deliveries) for message in backend.queued()]


def behind(system: System, serve: Serve, neighbour: str, door: Door) -> System:
    """The system with a door before one neighbour, on the executor's side only."""
    url = serve(Starlette(routes=[Mount("/", app=door)])).url
    urls = {**system.settings.urls, neighbour: url}
    return replace(system, settings=replace(system.settings, urls=urls))


@pytest.mark.usefixtures("hurried")
def test_a_control_plane_that_answers_late_counts_one_execution(
    system: System,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    set_lease: Callable[[float], None],
) -> None:
    """Counted after the executor stopped waiting, again and again, a job still gets its turn."""
    monkeypatch.setattr(neighbours, "TIMEOUT_SECONDS", 0.2)
    door = Door(system.control.app, "/running", seconds=0.6)
    slow = behind(system, serve, "control-plane", door)
    job_id = system.submit("/plain/")
    slow.work_until(lambda: door.knocks > 6)
    assert system.job(job_id)["attempts"] <= 1
    door.seconds = 0.0
    # From here on a busy machine is no slow answer.
    monkeypatch.setattr(neighbours, "TIMEOUT_SECONDS", 10.0)
    set_lease(10.0)
    slow.work_until(lambda: system.ended(job_id))
    assert system.job(job_id)["status"] == "completed"
    # One more at most: the second worker can't know what the first one announced.
    assert system.job(job_id)["attempts"] <= 2


@pytest.mark.usefixtures("hurried")
def test_a_job_is_acknowledged_only_after_its_report_was_taken(
    system: System, serve: Serve, waiting: Waiting
) -> None:
    door = Door(system.control.app, "/outcome", status=503)
    deaf = behind(system, serve, "control-plane", door)
    job_id = system.submit("/plain/")
    deaf.work_until(lambda: door.knocks > 1)
    assert [name for name, _deliveries in waiting()] == [job_id]
    assert system.job(job_id)["status"] == "running"
    door.status = 0
    deaf.work_until(lambda: not waiting())
    assert system.job(job_id)["status"] == "completed"


@pytest.mark.usefixtures("hurried")
def test_a_lost_lease_stops_the_work(
    system: System, backend: Backend, waiting: Waiting, set_lease: Callable[[float], None]
) -> None:
    set_lease(30.0)
    lost = system.submit("/http-test/delay/0.8")
    system_states: list[str] = []

    def steal() -> bool:
        if system.job(lost)["status"] != "running":
            return False
        backend.hand_over(lost, 9)
        system_states.append(system.submit("/http-test/delay/1"))
        return True

    # What is begun after the lost one, and takes longer, ends; the lost one never does.
    def other_ended() -> bool:
        return (bool(system_states) or steal()) and system.ended(*system_states)

    system.work_until(other_ended)
    assert backend.sql("memory-engine", "SELECT job_id FROM results") == [(system_states[0],)]
    assert system.job(lost)["status"] == "running"
    assert (lost, 9) in waiting()


async def claim_once(system: System) -> None:
    queue = open_queue(system.settings.queue_url)
    await queue.claim(10)
    await queue.close()


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize("neighbour", ["memory-engine", "control-plane"])
def test_an_outage_of_any_length_fails_no_job(
    system: System, serve: Serve, neighbour: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "MOST_REFUSALS", 1)
    app = (system.memory if neighbour == "memory-engine" else system.control).app
    door = Door(app, "", status=status)
    away = behind(system, serve, neighbour, door)
    job_id = system.submit("/plain/")

    def open_at_last() -> bool:
        door.status = 0 if door.knocks > 3 else status
        return system.ended(job_id)

    away.work_until(open_at_last)
    job = system.job(job_id)
    # Four deliveries and more, one execution; a busy machine may lose the short lease once.
    assert (job["status"], job["attempts"] in {1, 2}) == ("completed", True)


def test_deliveries_without_end_fail_no_job(
    system: System, backend: Backend, eventually: Eventually
) -> None:
    """An executor that was down all night finds a message that was handed out a thousand times."""
    job_id = system.submit("/plain/")
    eventually(lambda: bool(backend.queued()))
    asyncio.run(claim_once(system))
    backend.hand_over(job_id, 1000)
    backend.end_leases()
    system.work_until(lambda: system.ended(job_id))
    assert system.job(job_id)["status"] == "completed"


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    "refusal",
    [
        ("memory-engine", "", 500),
        ("memory-engine", "", 200),
        ("control-plane", "/running", 422),
        ("control-plane", "/running", 200),
    ],
)
def test_a_neighbour_that_refuses_for_ever_fails_the_job(
    system: System, serve: Serve, monkeypatch: pytest.MonkeyPatch, refusal: tuple[str, str, int]
) -> None:
    """Nonsense counts as a refusal: `{}` with 200 is no answer."""
    neighbour, path, status = refusal
    monkeypatch.setattr(worker, "MOST_REFUSALS", 2)
    app = (system.memory if neighbour == "memory-engine" else system.control).app
    door = Door(app, path, status=status)
    unwilling = behind(system, serve, neighbour, door)
    job_id = system.submit("/plain/")
    unwilling.work_until(lambda: system.ended(job_id))
    assert system.job(job_id)["error"] == "given up after 2 refusals: a neighbour refuses it"
    assert door.knocks >= 2


def test_a_stored_result_is_reported_however_little_patience_is_left(
    system: System, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "MOST_REFUSALS", 0)
    job_id = system.submit("/plain/")
    digest = hashlib.sha256(b"x").hexdigest()
    add = "INSERT INTO results VALUES (:job_id, 'x', :digest, 1, '{}', '')"
    backend.sql("memory-engine", add, job_id=job_id, digest=digest)
    system.work_until(lambda: system.ended(job_id))
    assert system.job(job_id)["result"]["sha256"] == digest
