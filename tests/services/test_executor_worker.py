"""The worker: every acknowledged job ends, with one result at most, whoever is killed (issue 2).

Real memory-engine, control-plane and targets on real ports; a kill is simulated where
its effect on the others is the same, and done for real by the stack tests.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from service_protocols import rows

from services.executor import worker
from services.executor.strategies import STRATEGIES
from services.queue import NewMessage, open_queue

if TYPE_CHECKING:
    from pathlib import Path

    from service_protocols import System


@pytest.mark.parametrize("strategy", list(STRATEGIES))
def test_a_job_is_fetched_stored_reported_and_acknowledged(
    system: System, state_folder: Path, strategy: str
) -> None:
    job_id = system.submit("/plain/", strategy)
    system.work_until(lambda: system.ended(job_id) and not _waiting(state_folder))
    job = system.job(job_id)
    assert (job["status"], job["attempts"], job["error"]) == ("completed", 1, None)
    ((stored_id, sha256),) = rows(
        state_folder, "memory-engine", "SELECT job_id, sha256 FROM results"
    )
    assert (stored_id, sha256) == (job_id, job["result"]["sha256"])
    assert job["result"]["http_status"] == 200


def test_a_job_that_a_neighbour_always_refuses_ends_failed(
    system: System, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stored result that no longer fits its digest makes the memory-engine answer 500."""
    job_id = system.submit("/plain/")
    with closing(sqlite3.connect(state_folder / "memory-engine.db")) as connection, connection:
        connection.execute("INSERT INTO results SELECT ?, 'x', ?, 1, '{}', 0.0", (job_id, "0" * 64))
    monkeypatch.setattr(worker, "MOST_REFUSALS", 0)
    system.work_until(lambda: system.ended(job_id))
    assert "given up after 0 refusals" in system.job(job_id)["error"]


def _waiting(folder: Path) -> list[tuple[Any, ...]]:
    return rows(folder, "queue", "SELECT job_id, deliveries FROM messages")


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
    system: System, state_folder: Path, path: str, strategy: str, wanted: str
) -> None:
    job_id = system.submit(path, strategy)
    system.work_until(lambda: system.ended(job_id))
    assert system.job(job_id)["status"] == "failed"
    assert wanted in system.job(job_id)["error"]
    assert rows(state_folder, "memory-engine", "SELECT * FROM results") == []


def test_a_host_that_is_not_allowed_fails_the_job(system: System) -> None:
    elsewhere = replace(system, target="http://127.0.0.1:1")
    job_id = elsewhere.submit("/")
    system.work_until(lambda: system.ended(job_id))
    assert "not an allowed host" in system.job(job_id)["error"]


def test_a_stored_result_is_reported_and_not_fetched_again(
    system: System, state_folder: Path
) -> None:
    """The executor was killed between storing and reporting."""
    job_id = system.submit("/http-test/status/503")
    with closing(sqlite3.connect(state_folder / "memory-engine.db")) as connection, connection:
        connection.execute(
            "INSERT INTO results VALUES (?, 'x', ?, 1, '{\"http_status\": \"203\"}', '')",
            (job_id, hashlib.sha256(b"x").hexdigest()),
        )
    system.work_until(lambda: system.ended(job_id))
    job = system.job(job_id)
    assert job["status"] == "completed"
    digest = hashlib.sha256(b"x").hexdigest()
    assert job["result"] == {"sha256": digest, "size_bytes": 1, "http_status": 203}
    assert job["attempts"] == 0


def test_a_job_that_ended_is_acknowledged_and_not_run_again(
    system: System, state_folder: Path
) -> None:
    """The executor was killed between reporting and acknowledging."""
    job_id = system.submit("/http-test/status/404")
    system.work_until(lambda: system.ended(job_id) and not _waiting(state_folder))
    before = system.job(job_id)
    again = NewMessage(job_id, "low", {"strategy": "vanilla", "target": f"{system.target}/plain/"})
    asyncio.run(open_queue(system.settings.queue_url).publish([again]))
    system.work_until(lambda: not _waiting(state_folder))
    assert system.job(job_id) == before
    assert rows(state_folder, "memory-engine", "SELECT * FROM results") == []


def test_used_up_executions_fail_the_job(system: System, state_folder: Path) -> None:
    """A job whose every execution was killed must end as well."""
    job_id = system.submit("/plain/")
    with closing(sqlite3.connect(state_folder / "control-plane.db")) as connection, connection:
        connection.execute("UPDATE jobs SET status = 'running', attempts = 5")
    system.work_until(lambda: system.ended(job_id))
    job = system.job(job_id)
    assert (job["status"], job["attempts"]) == ("failed", 5)
    assert job["error"] == "given up: 5 executions were begun and none ended"


@pytest.mark.parametrize("down", ["memory-engine", "control-plane"])
def test_a_neighbour_that_is_down_costs_no_attempt_and_no_job(
    system: System, state_folder: Path, down: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = system.submit("/plain/")
    urls = {**system.settings.urls, down: "http://127.0.0.1:1"}
    alone = replace(system, settings=replace(system.settings, urls=urls))
    with monkeypatch.context() as hurried:
        hurried.setattr("services.executor.neighbours.ATTEMPTS", 1)
        hurried.setattr("services.queue.sqlite.LEASE_SECONDS", 0.2)
        alone.work_until(lambda: any(deliveries > 6 for _, deliveries in _waiting(state_folder)))
    assert system.job(job_id)["attempts"] == 0
    system.work_until(lambda: system.ended(job_id))
    assert (system.job(job_id)["status"], system.job(job_id)["attempts"]) == ("completed", 1)


def test_a_job_nobody_knows_is_put_aside(system: System, state_folder: Path) -> None:
    stray = NewMessage("job-stray", "low", {"strategy": "vanilla", "target": system.target})
    asyncio.run(open_queue(system.settings.queue_url).publish([stray]))
    system.work_until(lambda: not _waiting(state_folder))
    dead = rows(state_folder, "queue", "SELECT job_id, reason FROM dead_messages")
    assert dead == [("job-stray", "the control-plane does not know this job")]


def test_a_stopped_worker_gives_its_leases_back(system: System, state_folder: Path) -> None:
    job_id = system.submit("/http-test/delay/5")
    system.work_until(lambda: system.job(job_id)["status"] == "running")
    leases = rows(state_folder, "queue", "SELECT job_id, leased_until FROM messages")
    assert leases == [(job_id, 0.0)]


def test_a_busy_worker_keeps_its_lease(
    system: System, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetch longer than a lease is executed once."""
    monkeypatch.setattr("services.queue.sqlite.LEASE_SECONDS", 0.6)
    monkeypatch.setattr("services.executor.worker._EXTEND_SECONDS", 0.1)
    job_id = system.submit("/http-test/delay/1.5")
    system.work_until(lambda: system.ended(job_id) and not _waiting(state_folder))
    assert (system.job(job_id)["status"], system.job(job_id)["attempts"]) == ("completed", 1)
