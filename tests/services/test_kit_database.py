"""A database that can't serve now is 503, and the service says that it is not ready."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from services.kit import app as kit_app
from services.kit import engines
from services.kit.database import Database
from services.memory_engine.app import build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from service_protocols import SettingsFor

DOCUMENT = {"content": "x" * 100_000}


@pytest.fixture
def client(
    settings_for: SettingsFor, client_headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    """A memory-engine that doesn't wait long for a lock."""
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_MILLISECONDS", 10)
    app = build(settings_for("memory-engine"))
    with TestClient(app, headers=client_headers, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else holds the write lock."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def put(client: TestClient) -> tuple[int, dict[str, str]]:
    answer = client.put("/v1/documents/a", json=DOCUMENT)
    return answer.status_code, answer.json().get("error", {})


def test_a_locked_database_is_503_until_it_is_free(client: TestClient, state_folder: Path) -> None:
    with locked(state_folder / "memory-engine.db"):
        status, error = put(client)
        assert (status, error["code"]) == (503, "unavailable")
        assert set(error) == {"code", "message", "trace_id"}
    assert put(client) == (200, {})


def test_a_full_disk_is_503(client: TestClient) -> None:
    def fill(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # SQLite's own "disk is full"

    event.listen(client.app.state.database.engine, "connect", fill)  # type: ignore[attr-defined]
    status, error = put(client)
    assert (status, error["code"]) == (503, "unavailable")
    assert "sqlite" not in str(error).lower()


def test_a_missing_table_stays_a_bug(client: TestClient, state_folder: Path) -> None:
    """Only what passes by itself is 503: a missing migration must not look like an outage."""
    with closing(sqlite3.connect(state_folder / "memory-engine.db")) as connection:
        connection.execute("DROP TABLE documents")
    assert put(client)[0] == 500


def test_a_database_that_cannot_be_written_is_not_ready(
    client: TestClient, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit_app, "READY_TIMEOUT_SECONDS", 5.0)
    with locked(state_folder / "memory-engine.db"):
        assert client.get("/readyz").json() == {
            "status": "not ready",
            "checks": {"database": "failed", "service-tokens": "passed"},
        }
    assert client.get("/readyz").json()["status"] == "ready"


def test_readiness_writes(client: TestClient, state_folder: Path) -> None:
    """A check that only reads doesn't notice a full disk."""
    client.get("/readyz")
    before = (state_folder / "memory-engine.db-wal").stat().st_size
    client.get("/readyz")
    assert (state_folder / "memory-engine.db-wal").stat().st_size > before


@pytest.mark.parametrize("service", ["memory-engine", "control-plane", "sessions", "model-router"])
def test_every_commit_is_synced(settings_for: SettingsFor, service: str) -> None:
    """NORMAL lost acknowledged writes at a power failure."""
    database = Database(settings_for(service).database_url, service)
    with database.writing() as writing, database.reading() as reading:
        for connection in (writing, reading):
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    database.close()


def test_every_operation_on_a_database_describes_503(client: TestClient) -> None:
    for path, methods in client.app.openapi()["paths"].items():  # type: ignore[attr-defined]
        if path.startswith("/v1/"):
            assert all("503" in operation["responses"] for operation in methods.values()), path
