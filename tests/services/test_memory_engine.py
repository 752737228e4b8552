"""The memory-engine: what it acknowledges it keeps, once, unchanged."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from service_backends import BOTH

from services.memory_engine.app import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from service_backends import Backend
    from service_protocols import Serve, ServiceToken, SettingsFor

    Call = Callable[..., httpx.Response]

BACKENDS = BOTH


@pytest.fixture
def url(settings_for: SettingsFor, serve: Serve) -> str:
    return serve(build(settings_for("memory-engine"))).url


@pytest.fixture
def call(url: str, service_token: ServiceToken) -> Iterator[Call]:
    """Calls as the executor does, signed for each request."""
    with httpx.Client(base_url=url, trust_env=False) as client:

        def send(
            method: str, path: str, body: object = None, caller: str = "executor"
        ) -> httpx.Response:
            token = service_token(caller, "memory-engine", method, path, body)
            return client.request(method, path, json=body, headers={"X-Service-Token": token})

        yield send


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_it_is_ready_when_migrated(url: str) -> None:
    answer = httpx.get(f"{url}/readyz", trust_env=False).json()
    assert answer == {
        "status": "ready",
        "checks": {"database": "passed", "service-tokens": "passed"},
    }


def test_it_is_not_ready_without_its_tables(
    settings_for: SettingsFor, serve: Serve, tmp_path: Path
) -> None:
    settings = settings_for("memory-engine", database_url=f"sqlite:///{tmp_path / 'other.db'}")
    url = serve(build(settings)).url
    assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 503


def test_only_the_executor_stores_results(call: Call) -> None:
    for caller in ("gateway", "control-plane", "sessions"):
        assert call("PUT", "/v1/results/job-1", {"content": "x"}, caller).status_code == 403
    assert call("GET", "/v1/results/job-1").status_code == 404


def test_the_digest_is_over_the_utf8_bytes(call: Call) -> None:
    answer = call("PUT", "/v1/results/job-1", {"content": "Prüfung ✓"}).json()
    assert answer["sha256"] == sha256("Prüfung ✓")
    assert answer["size_bytes"] == len("Prüfung ✓".encode())
    assert answer["created"] is True


def test_the_first_result_wins(call: Call, backend: Backend) -> None:
    """Issue 2: no result twice."""
    first = call("PUT", "/v1/results/job-1", {"content": "one", "metadata": {"n": "1"}}).json()
    again = call("PUT", "/v1/results/job-1", {"content": "two", "metadata": {"n": "2"}}).json()
    assert again == {**first, "created": False}
    assert call("GET", "/v1/results/job-1").json()["content"] == "one"
    query = "SELECT content FROM results WHERE job_id = :job_id"
    assert backend.sql("memory-engine", query, job_id="job-1") == [("one",)]


def test_a_result_is_readable_by_clients_but_not_writable(
    call: Call, url: str, client_headers: dict[str, str]
) -> None:
    call("PUT", "/v1/results/job-1", {"content": "one"})
    with httpx.Client(base_url=url, headers=client_headers, trust_env=False) as client:
        assert client.get("/v1/results/job-1").json()["sha256"] == sha256("one")
        body = {"content": "mine"}
        assert client.put("/v1/results/job-2", json=body).status_code == 401


def test_a_result_changed_behind_its_back_is_never_answered(call: Call, backend: Backend) -> None:
    call("PUT", "/v1/results/job-1", {"content": "one"})
    backend.sql("memory-engine", "UPDATE results SET content = 'two'")
    response = call("GET", "/v1/results/job-1")
    assert response.status_code == 500
    assert "two" not in response.text


def test_a_result_removed_behind_its_back_is_404(call: Call, backend: Backend) -> None:
    call("PUT", "/v1/results/job-1", {"content": "one"})
    backend.sql("memory-engine", "DELETE FROM results")
    assert call("GET", "/v1/results/job-1").status_code == 404


@pytest.mark.parametrize("job_id", ["-x", "a%20b", "a%00", "x" * 129, "%2e%2e", "a%0A"])
def test_an_odd_id_is_refused(url: str, client_headers: dict[str, str], job_id: str) -> None:
    response = httpx.get(f"{url}/v1/results/{job_id}", headers=client_headers, trust_env=False)
    assert response.status_code == 422


def test_a_document_gets_a_version_per_change(call: Call) -> None:
    path = "/v1/documents/notes"
    versions = [
        (answer["version"], answer["created"])
        for content in ("one", "two", "two", "one")
        for answer in [call("PUT", path, {"content": content}).json()]
    ]
    assert versions == [(1, True), (2, True), (2, False), (3, True)]
    assert call("GET", path).json()["content"] == "one"
    assert call("GET", f"{path}?version=2").json()["content"] == "two"
    assert call("GET", f"{path}?version=9").status_code == 404


def test_vectors_are_found_by_direction(call: Call) -> None:
    vectors = {"east": [1, 0], "north-east": [2.0, 2.0], "west": [-5.0, 0.0], "space": [1, 0, 0]}
    for name, values in vectors.items():
        assert call("PUT", f"/v1/vectors/{name}", {"values": values}).status_code == 200
    query = {"values": [0.5, 0.0], "top_k": 2}
    matches = call("POST", "/v1/vectors/search", query).json()["matches"]
    assert [match["vector_id"] for match in matches] == ["east", "north-east"]
    assert matches[0]["score"] == 1.0
    assert matches[1]["score"] == pytest.approx(0.5**0.5)


def test_a_vector_is_replaced_not_doubled(call: Call) -> None:
    for values in ([1.0, 0.0], [0.0, 1.0]):
        call("PUT", "/v1/vectors/one", {"values": values, "metadata": {"k": "v"}})
    matches = call("POST", "/v1/vectors/search", {"values": [0, 1]}).json()["matches"]
    assert matches == [{"vector_id": "one", "score": 1.0, "metadata": {"k": "v"}}]


def test_extreme_values_neither_overflow_nor_vanish(call: Call) -> None:
    call("PUT", "/v1/vectors/huge", {"values": [1.7e308, 1.7e308]})
    call("PUT", "/v1/vectors/tiny", {"values": [5e-324, 5e-324]})
    matches = call("POST", "/v1/vectors/search", {"values": [1, 1]}).json()["matches"]
    assert [match["score"] for match in matches] == [pytest.approx(1.0)] * 2


@pytest.mark.parametrize(
    "body",
    [
        b'{"values": []}',
        b'{"values": [0, 0.0]}',
        b'{"values": [NaN]}',
        b'{"values": [Infinity]}',
        b'{"values": [1e999]}',
        b'{"values": [true]}',
        b'{"values": ["1"]}',
        b'{"values": [1' + b"0" * 400 + b"]}",
        b'{"values": [' + b",".join([b"1"] * 257) + b"]}",
    ],
)
def test_a_vector_without_a_finite_direction_is_refused(
    url: str, client_headers: dict[str, str], body: bytes
) -> None:
    headers = {**client_headers, "Content-Type": "application/json"}
    response = httpx.put(f"{url}/v1/vectors/v", content=body, headers=headers, trust_env=False)
    assert response.status_code == 422


def put_state(call: Call, value: dict[str, Any], expected: int | None = None) -> httpx.Response:
    body = {"value": value, **({} if expected is None else {"expected_version": expected})}
    return call("PUT", "/v1/state/settings", body)


def test_state_keeps_every_version(call: Call) -> None:
    """K10."""
    for number in (1, 2, 3):
        assert put_state(call, {"n": number, "on": True, "x": 0.5}).json()["version"] == number
    assert call("GET", "/v1/state/settings").json()["value"] == {"n": 3, "on": True, "x": 0.5}
    assert call("GET", "/v1/state/settings?version=1").json()["value"]["n"] == 1
    history = call("GET", "/v1/state/settings/history?before=3").json()["states"]
    assert [state["version"] for state in history] == [2, 1]


def test_a_stale_writer_is_told_so(call: Call) -> None:
    assert put_state(call, {"n": 1}, expected=0).status_code == 200
    assert put_state(call, {"n": 2}, expected=0).status_code == 409
    assert put_state(call, {"n": 2}, expected=1).json()["version"] == 2
    assert call("GET", "/v1/state/settings").json()["value"] == {"n": 2}


def test_unknown_state_is_404(call: Call) -> None:
    assert call("GET", "/v1/state/nothing").status_code == 404
    assert call("GET", "/v1/documents/nothing").status_code == 404
    assert call("GET", "/v1/results/nothing").status_code == 404


def test_nobody_reads_without_a_token(url: str) -> None:
    for path in ("results/a", "documents/a", "state/a", "state/a/history"):
        assert httpx.get(f"{url}/v1/{path}", trust_env=False).status_code == 401
