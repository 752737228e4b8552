"""The worker: every acknowledged job ends, with one result at most, whoever is killed (issue 2).

Real memory-engine, control-plane and targets on real ports; a kill is simulated where
its effect on the others is the same, and done for real by the stack tests.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from service_backends import BOTH

from services.executor import worker
from services.executor.strategies import STRATEGIES
from services.queue import LEASE_SECONDS, Message, NewMessage, open_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from service_backends import Backend
    from service_protocols import System

BACKENDS = BOTH
RESULTS = "SELECT job_id, sha256 FROM results"
ADD_RESULT = """
    INSERT INTO results (job_id, content, sha256, size_bytes, metadata, created_at)
    VALUES (:job_id, 'x', :sha256, 1, :metadata, '')
"""


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_job_is_fetched_stored_reported_and_acknowledged(
    system: System, backend: Backend, strategy: str
) -> None:
    job_id = system.submit("/plain/", strategy)
    system.work_until(lambda: system.ended(job_id) and not backend.queued())
    job = system.job(job_id)
    assert (job["status"], job["attempts"], job["error"]) == ("completed", 1, None)
    ((stored_id, sha256),) = backend.sql("memory-engine", RESULTS)
    assert (stored_id, sha256) == (job_id, job["result"]["sha256"])
    assert job["result"]["http_status"] == 200


def test_a_job_that_a_neighbour_always_refuses_ends_failed(
    system: System, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stored result that no longer fits its digest makes the memory-engine answer 500."""
    job_id = system.submit("/plain/")
    values = {"job_id": job_id, "sha256": "0" * 64, "metadata": "{}"}
    backend.sql("memory-engine", ADD_RESULT, **values)
    monkeypatch.setattr(worker, "MOST_REFUSALS", 0)
    system.work_until(lambda: system.ended(job_id))
    assert "given up after 0 refusals" in system.job(job_id)["error"]


@pytest.mark.parametrize(
    ("path", "strategy", "wanted"),
    [
        ("/http-test/status/404", "assault", "expected a 2xx answer, got 404"),
        ("/http-test/status/503", "vanilla", "got 503 (after 1 attempt, vanilla)"),
        ("/http-test/status/503", "stealth", "got 503 (after 3 attempts, stealth)"),
        ("/http-test/status/304", "vanilla", "got 304"),
    ],
)
def test_an_answer_other_than_2xx_fails_the_job(
    system: System, backend: Backend, path: str, strategy: str, wanted: str
) -> None:
    job_id = system.submit(path, strategy)
    system.work_until(lambda: system.ended(job_id))
    assert system.job(job_id)["status"] == "failed"
    assert wanted in system.job(job_id)["error"]
    assert backend.sql("memory-engine", RESULTS) == []


def test_a_host_that_is_not_allowed_fails_the_job(system: System) -> None:
    elsewhere = replace(system, target="http://127.0.0.1:1")
    job_id = elsewhere.submit("/")
    system.work_until(lambda: system.ended(job_id))
    assert "not an allowed host" in system.job(job_id)["error"]


def test_a_stored_result_is_reported_and_not_fetched_again(
    system: System, backend: Backend
) -> None:
    """The executor was killed between storing and reporting."""
    job_id = system.submit("/http-test/status/503")
    digest = hashlib.sha256(b"x").hexdigest()
    values = {"job_id": job_id, "sha256": digest, "metadata": '{"http_status": "203"}'}
    backend.sql("memory-engine", ADD_RESULT, **values)
    system.work_until(lambda: system.ended(job_id))
    job = system.job(job_id)
    assert job["status"] == "completed"
    assert job["result"] == {"sha256": digest, "size_bytes": 1, "http_status": 203}
    assert job["attempts"] == 0


def test_a_job_that_ended_is_acknowledged_and_not_run_again(
    system: System, backend: Backend
) -> None:
    """The executor was killed between reporting and acknowledging."""
    job_id = system.submit("/http-test/status/404")
    system.work_until(lambda: system.ended(job_id) and not backend.queued())
    before = system.job(job_id)
    again = NewMessage(job_id, "low", {"strategy": "vanilla", "target": f"{system.target}/plain/"})
    backend.publish(again)
    system.work_until(lambda: not backend.queued())
    assert system.job(job_id) == before
    assert backend.sql("memory-engine", RESULTS) == []


def test_used_up_executions_fail_the_job(system: System, backend: Backend) -> None:
    """A job whose every execution was killed must end as well."""
    job_id = system.submit("/plain/")
    backend.sql("control-plane", "UPDATE jobs SET status = 'running', attempts = 5")
    system.work_until(lambda: system.ended(job_id))
    job = system.job(job_id)
    assert (job["status"], job["attempts"]) == ("failed", 5)
    assert job["error"] == "given up: 5 executions were begun and none ended"


@pytest.mark.parametrize("down", ["memory-engine", "control-plane"])
def test_a_neighbour_that_is_down_costs_no_attempt_and_no_job(
    system: System,
    backend: Backend,
    down: str,
    monkeypatch: pytest.MonkeyPatch,
    set_lease: Callable[[float], None],
) -> None:
    job_id = system.submit("/plain/")
    urls = {**system.settings.urls, down: "http://127.0.0.1:1"}
    alone = replace(system, settings=replace(system.settings, urls=urls))
    set_lease(0.2)
    with monkeypatch.context() as hurried:
        hurried.setattr("services.executor.neighbours.ATTEMPTS", 1)
        alone.work_until(lambda: any(message.deliveries > 6 for message in backend.queued()))
    set_lease(LEASE_SECONDS)
    assert system.job(job_id)["attempts"] == 0
    system.work_until(lambda: system.ended(job_id))
    assert (system.job(job_id)["status"], system.job(job_id)["attempts"]) == ("completed", 1)


def test_a_job_nobody_knows_is_put_aside(system: System, backend: Backend) -> None:
    stray = NewMessage("job-stray", "low", {"strategy": "vanilla", "target": system.target})
    backend.publish(stray)
    system.work_until(lambda: not backend.queued())
    assert backend.dead() == [("job-stray", "the control-plane does not know this job")]


def claim(system: System) -> Sequence[Message]:
    """What another executor gets at this moment."""

    async def ask() -> Sequence[Message]:
        queue = open_queue(system.settings.queue_url)
        try:
            return await queue.claim(10)
        finally:
            await queue.close()

    return asyncio.run(ask())


def test_a_stopped_worker_gives_its_leases_back(system: System) -> None:
    job_id = system.submit("/http-test/delay/5")
    system.work_until(lambda: system.job(job_id)["status"] == "running")
    assert [message.job_id for message in claim(system)] == [job_id]


def test_a_busy_worker_keeps_its_lease(
    system: System,
    backend: Backend,
    monkeypatch: pytest.MonkeyPatch,
    set_lease: Callable[[float], None],
) -> None:
    """A fetch longer than a lease is executed once."""
    set_lease(0.6)
    monkeypatch.setattr("services.executor.worker._EXTEND_SECONDS", 0.1)
    job_id = system.submit("/http-test/delay/1.5")
    system.work_until(lambda: system.ended(job_id) and not backend.queued())
    assert (system.job(job_id)["status"], system.job(job_id)["attempts"]) == ("completed", 1)
