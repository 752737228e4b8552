"""The embedded queue: what is SQLite's own, its file, its clock and its locks."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from services.queue import LEASE_SECONDS, NewMessage, open_queue
from services.queue.sqlite import SqliteQueue

if TYPE_CHECKING:
    from pathlib import Path


class Clock:
    """A clock that stands where a test puts it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(state_folder: Path, clock: Clock) -> SqliteQueue:
    """A queue that holds one message."""
    queue = SqliteQueue(str(state_folder / "queue.db"), clock)
    asyncio.run(queue.publish([NewMessage("a", "low", {})]))
    return queue


def claim_names(queue: SqliteQueue) -> list[str]:
    return [message.job_id for message in asyncio.run(queue.claim(1))]


def test_a_lease_ends_on_the_dot(queue: SqliteQueue, clock: Clock) -> None:
    assert claim_names(queue) == ["a"]
    clock.now += LEASE_SECONDS - 0.001
    assert claim_names(queue) == []
    clock.now += 0.001
    assert claim_names(queue) == ["a"]


def test_a_clock_set_back_strands_no_message(queue: SqliteQueue, clock: Clock) -> None:
    claim_names(queue)
    clock.now -= 3600
    assert claim_names(queue) == ["a"]


def test_a_small_step_back_takes_no_lease_away(queue: SqliteQueue, clock: Clock) -> None:
    claim_names(queue)
    clock.now -= LEASE_SECONDS - 1
    assert claim_names(queue) == []


def test_the_file_is_never_in_wal_mode_and_always_synced(queue: SqliteQueue) -> None:
    """Two processes write it: WAL would meet SQLite's WAL-reset bug."""
    assert queue._connection is not None
    pragma = queue._connection.execute
    assert pragma("PRAGMA journal_mode").fetchone() == ("truncate",)
    assert pragma("PRAGMA synchronous").fetchone() == (2,)


def test_a_queue_that_cannot_be_written_is_not_ready(
    queue: SqliteQueue, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.queue.sqlite._BUSY_SECONDS", 0.01)
    asyncio.run(queue.close())
    with closing(sqlite3.connect(state_folder / "queue.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            asyncio.run(queue.ready())
        other.execute("ROLLBACK")
    asyncio.run(queue.ready())


def test_readiness_writes(queue: SqliteQueue, state_folder: Path) -> None:
    """A check that only reads doesn't notice a full disk."""
    asyncio.run(queue.ready())
    before = (state_folder / "queue.db").stat().st_mtime_ns
    asyncio.run(queue.ready())
    assert (state_folder / "queue.db").stat().st_mtime_ns > before


def test_a_queue_that_is_not_there_is_not_ready(tmp_path: Path) -> None:
    """A missing file must not become an empty queue."""
    queue = open_queue(f"sqlite:///{tmp_path / 'queue.db'}")
    with pytest.raises(sqlite3.OperationalError):
        asyncio.run(queue.ready())
    assert not (tmp_path / "queue.db").exists()
