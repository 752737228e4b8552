"""The control-plane: an acknowledged job is never lost, an outcome is final."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from service_backends import BOTH, servers_only

from services.control_plane.app import build
from services.control_plane.outbox import Outbox
from services.control_plane.schemas import MOST_ATTEMPTS
from services.kit.database import Database
from services.queue import QueueUnavailableError, open_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service_backends import Backend
    from service_protocols import Eventually, Serve, Served, ServiceToken, SettingsFor

    Internal = Callable[..., httpx.Response]

BACKENDS = BOTH
ADD_UNPUBLISHED = """
    INSERT INTO jobs (job_id, body_sha256, kind, strategy, priority, target, sequence,
        status, attempts, created_at, published)
    VALUES ('job-1', '', 'fetch', 'vanilla', 'low', 'http://x', 1, 'queued', 0, '', false)
"""
JOB = {
    "kind": "fetch",
    "strategy": "stealth",
    "priority": "high",
    "target": "http://127.0.0.1:7060/plain/",
    "sequence": 7,
}
RESULT = {"sha256": "0" * 64, "size_bytes": 12, "http_status": 200}
COMPLETED = {"status": "completed", "result": RESULT}
FAILED = {"status": "failed", "error": "expected a 2xx answer, got 503"}


@pytest.fixture
def served(settings_for: SettingsFor, serve: Serve) -> Served:
    return serve(build(settings_for("control-plane")))


@pytest.fixture
def client(served: Served, client_headers: dict[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, headers=client_headers, trust_env=False) as client:
        yield client


@pytest.fixture
def internal(served: Served, service_token: ServiceToken) -> Internal:
    """Posts as a service does, the executor by default."""

    def post(path: str, body: object = None, caller: str = "executor") -> httpx.Response:
        token = service_token(caller, "control-plane", "POST", path, body)
        headers = {"X-Service-Token": token}
        return httpx.post(served.url + path, json=body, headers=headers, trust_env=False)

    return post


def submit(client: httpx.Client, **changes: object) -> str:
    response = client.post("/api/v1/jobs", json={**JOB, **changes})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def test_a_submitted_job_is_answered_as_queued(client: httpx.Client) -> None:
    answer = client.post("/api/v1/jobs", json=JOB).json()
    assert {key: answer[key] for key in JOB} == JOB
    assert (answer["status"], answer["attempts"]) == ("queued", 0)
    assert answer["result"] is answer["error"] is answer["completed_at"] is None
    assert client.get(f"/api/v1/jobs/{answer['id']}").json() == answer


def test_a_submitted_job_reaches_the_queue(
    client: httpx.Client, backend: Backend, eventually: Eventually
) -> None:
    job_id = submit(client)
    eventually(lambda: bool(backend.queued()))
    (message,) = backend.queued()
    assert (message.job_id, message.priority) == (job_id, "high")
    assert json.loads(message.body) == {"strategy": "stealth", "target": JOB["target"]}


def test_a_job_that_no_one_published_is_published_at_start(
    settings_for: SettingsFor, serve: Serve, backend: Backend, eventually: Eventually
) -> None:
    """Issue 2: killed between the 201 and the queue, the job is not lost."""
    backend.sql("control-plane", ADD_UNPUBLISHED)
    serve(build(settings_for("control-plane")))
    eventually(lambda: [message.job_id for message in backend.queued()] == ["job-1"])


def test_an_open_job_is_offered_again_when_the_queue_was_lost(
    client: httpx.Client, served: Served, serve: Serve, backend: Backend, eventually: Eventually
) -> None:
    job_id = submit(client)
    eventually(lambda: bool(backend.queued()))
    served.stop()
    backend.lose_queue()
    serve(build(served.app.state.settings))
    eventually(lambda: [message.job_id for message in backend.queued()] == [job_id])


def test_a_queue_that_is_lost_meanwhile_is_filled_again_without_a_restart(
    client: httpx.Client, backend: Backend, eventually: Eventually
) -> None:
    """Issue 3: a job must never be stuck for ever."""
    job_ids = [submit(client, sequence=number) for number in range(3)]
    eventually(lambda: len(backend.queued()) == 3)
    backend.lose_queue()
    eventually(lambda: [message.job_id for message in backend.queued()] == job_ids)


def test_a_job_that_ended_is_not_offered_again(
    client: httpx.Client, internal: Internal, backend: Backend, eventually: Eventually
) -> None:
    ended, waiting = (submit(client, sequence=number) for number in range(2))
    eventually(lambda: len(backend.queued()) == 2)
    internal(f"/internal/jobs/{ended}/outcome", COMPLETED)
    backend.lose_queue()
    eventually(lambda: [message.job_id for message in backend.queued()] == [waiting])


@servers_only
def test_a_full_queue_leaves_its_jobs_in_the_database(
    client: httpx.Client,
    backend: Backend,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only a queue of Redis is bounded; what it refuses is published when there is room."""
    monkeypatch.setattr("services.queue.redis.MOST_MESSAGES", 0)
    job_ids = [submit(client, sequence=number) for number in range(3)]
    unpublished = "SELECT count(*) FROM jobs WHERE NOT published"
    assert backend.sql("control-plane", unpublished) == [(3,)]
    assert backend.queued() == []
    monkeypatch.setattr("services.queue.redis.MOST_MESSAGES", 3)
    eventually(lambda: [message.job_id for message in backend.queued()] == job_ids)


def test_a_queue_that_is_down_delays_jobs_but_loses_none(
    settings_for: SettingsFor, backend: Backend
) -> None:
    settings = settings_for("control-plane")
    database = Database(settings.database_url, "control-plane")
    backend.sql("control-plane", ADD_UNPUBLISHED)
    away = "redis://127.0.0.1:1/0" if backend.servers else f"{settings.queue_url}-gone"
    gone = Outbox(database, open_queue(away))
    with pytest.raises((sqlite3.OperationalError, QueueUnavailableError)):
        asyncio.run(gone.publish_pending())
    asyncio.run(Outbox(database, open_queue(settings.queue_url)).publish_pending())
    assert [message.job_id for message in backend.queued()] == ["job-1"]
    database.close()


def test_the_same_key_and_body_is_the_same_job(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "key-1"}
    first = client.post("/api/v1/jobs", json=JOB, headers=headers)
    again = client.post("/api/v1/jobs", json=dict(reversed(JOB.items())), headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]


def test_the_same_key_with_another_body_is_409(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "key-1"}
    client.post("/api/v1/jobs", json=JOB, headers=headers)
    other = client.post("/api/v1/jobs", json={**JOB, "sequence": 8}, headers=headers)
    assert other.status_code == 409


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": "brutal"},
        {"priority": "urgent"},
        {"kind": "shell"},
        {"target": "file:///etc/passwd"},
        {"target": "http://a b"},
        {"target": "http://" + "a" * 2048},
        {"sequence": -1},
        {"sequence": 2**53},
        {"sequence": True},
        {"sequence": "7"},
        {"more": 1},
        {"workspace_id": "../x"},
    ],
)
def test_a_job_that_is_not_allowed_is_422(client: httpx.Client, change: dict[str, Any]) -> None:
    assert client.post("/api/v1/jobs", json={**JOB, **change}).status_code == 422


def test_jobs_are_listed_in_order_and_pages(client: httpx.Client) -> None:
    ids = [submit(client, sequence=number) for number in range(5)]
    page = client.get("/api/v1/jobs?limit=2").json()
    assert [job["id"] for job in page["jobs"]] == ids[:2]
    rest = client.get("/api/v1/jobs", params={"after": page["next"], "status": "queued"}).json()
    assert [job["id"] for job in rest["jobs"]] == ids[2:]
    assert rest["next"] is None
    assert client.get("/api/v1/jobs?status=failed").json()["jobs"] == []


def test_executions_are_counted_up_to_the_limit(client: httpx.Client, internal: Internal) -> None:
    job_id = submit(client)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        answer = internal(f"/internal/jobs/{job_id}/running", {"attempt": attempt}).json()
        assert answer == {"job_id": job_id, "attempt": attempt, "may_run": True}
    path, body = f"/internal/jobs/{job_id}/running", {"attempt": MOST_ATTEMPTS + 1}
    assert internal(path, body).json() == {
        "job_id": job_id, "attempt": MOST_ATTEMPTS, "may_run": False,
    }  # fmt: skip
    assert client.get(f"/api/v1/jobs/{job_id}").json()["status"] == "running"


def test_an_execution_counts_once_however_often_it_is_sent(
    client: httpx.Client, internal: Internal
) -> None:
    """A control-plane that hung finds every copy of the request when it goes on."""
    job_id = submit(client)
    path = f"/internal/jobs/{job_id}/running"
    for _ in range(MOST_ATTEMPTS + 1):
        answer = internal(path, {"attempt": 1}).json()
        assert answer == {"job_id": job_id, "attempt": 1, "may_run": True}
    assert internal(path, {"attempt": 2}).json()["may_run"]
    for stale in (1, 4):
        late = internal(path, {"attempt": stale})
        assert (late.status_code, late.json()["error"]["code"]) == (409, "stale_attempt")
    assert client.get(f"/api/v1/jobs/{job_id}").json()["attempts"] == 2


@pytest.mark.parametrize("body", [None, {}, {"attempt": 0}, {"attempt": 7}, {"attempt": "1"}])
def test_an_execution_without_its_number_is_422(
    client: httpx.Client, internal: Internal, body: object
) -> None:
    assert internal(f"/internal/jobs/{submit(client)}/running", body).status_code == 422


@pytest.mark.parametrize(("outcome", "other"), [(COMPLETED, FAILED), (FAILED, COMPLETED)])
def test_an_outcome_is_final(
    client: httpx.Client, internal: Internal, outcome: dict[str, Any], other: dict[str, Any]
) -> None:
    job_id = submit(client)
    path = f"/internal/jobs/{job_id}/outcome"
    first = internal(path, outcome)
    assert first.status_code == 200
    assert internal(path, outcome).json() == first.json()
    assert internal(path, other).status_code == 409
    late = internal(f"/internal/jobs/{job_id}/running", {"attempt": 1})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "conflict")
    job = client.get(f"/api/v1/jobs/{job_id}").json()
    assert job["status"] == outcome["status"]
    assert job["result"] == outcome.get("result")
    assert job["error"] == outcome.get("error")
    assert job["completed_at"] >= job["created_at"]


@pytest.mark.parametrize(
    "body",
    [
        {"status": "completed"},
        {"status": "failed"},
        {"status": "failed", "error": ""},
        {"status": "failed", "result": RESULT, "error": "both"},
        {"status": "queued"},
        {"status": "completed", "result": {**RESULT, "sha256": "short"}},
    ],
)
def test_an_outcome_that_contradicts_itself_is_422(
    client: httpx.Client, internal: Internal, body: dict[str, Any]
) -> None:
    assert internal(f"/internal/jobs/{submit(client)}/outcome", body).status_code == 422


def test_only_the_executor_reports(client: httpx.Client, internal: Internal) -> None:
    path = f"/internal/jobs/{submit(client)}/running"
    assert internal(path, {"attempt": 1}, caller="gateway").status_code == 403
    assert client.post(path).status_code == 401


def test_an_unknown_job_is_404(client: httpx.Client, internal: Internal) -> None:
    assert client.get("/api/v1/jobs/job-none").status_code == 404
    assert client.get("/api/v1/jobs?after=job-none").status_code == 404
    assert internal("/internal/jobs/job-none/running", {"attempt": 1}).status_code == 404
    assert internal("/internal/jobs/job-none/outcome", FAILED).status_code == 404


def test_nobody_submits_without_a_token(served: Served) -> None:
    response = httpx.post(f"{served.url}/api/v1/jobs", json=JOB, trust_env=False)
    assert response.status_code == 401
