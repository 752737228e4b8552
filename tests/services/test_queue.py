"""The queue: durable, ordered by priority, leased, given back (QUEUE_URL sqlite:///...)."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from services.kit.settings import SettingsError
from services.queue import LEASE_SECONDS, Message, NewMessage, open_queue
from services.queue.sqlite import SqliteQueue

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from services.queue import Priority


class Bench:
    """A queue on a clock that stands still, spoken to from plain functions."""

    def __init__(self, path: Path) -> None:
        """Open the queue twice: as the publisher and as a consumer in another process would."""
        self.now = 1000.0
        self.queue = SqliteQueue(str(path), lambda: self.now)
        self.other = SqliteQueue(str(path), lambda: self.now)

    def publish(self, *jobs: tuple[str, Priority]) -> None:
        messages = [NewMessage(name, priority, {"target": name}) for name, priority in jobs]
        asyncio.run(self.queue.publish(messages))

    def claim(self, count: int = 1) -> Sequence[Message]:
        return asyncio.run(self.other.claim(count))

    def claim_names(self, count: int) -> list[str]:
        return [message.job_id for message in self.claim(count)]


@pytest.fixture
def bench(state_folder: Path) -> Bench:
    return Bench(state_folder / "queue.db")


def test_high_comes_before_normal_before_low_then_first_come(bench: Bench) -> None:
    bench.publish(("a", "low"), ("b", "high"), ("c", "normal"), ("d", "high"))
    assert bench.claim_names(10) == ["b", "d", "c", "a"]


def test_a_claim_is_bounded_and_exclusive(bench: Bench) -> None:
    bench.publish(("a", "low"), ("b", "low"), ("c", "low"))
    assert bench.claim_names(2) == ["a", "b"]
    assert bench.claim_names(2) == ["c"]
    assert bench.claim_names(2) == []


def test_publishing_again_changes_nothing(bench: Bench) -> None:
    bench.publish(("a", "low"))
    bench.publish(("a", "high"))
    assert bench.claim_names(5) == ["a"]
    bench.publish(("a", "low"))
    assert bench.claim_names(5) == []


def test_the_body_arrives_as_it_was_published(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (message,) = bench.claim()
    assert message.body == {"target": "a"}
    assert message.deliveries == 1


def test_a_message_comes_back_when_its_lease_ends(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (first,) = bench.claim()
    bench.now += LEASE_SECONDS - 0.001
    assert bench.claim() == []
    bench.now += 0.001
    (second,) = bench.claim()
    assert second.deliveries == 2
    assert second.receipt != first.receipt


def test_an_extended_lease_does_not_end(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (message,) = bench.claim()
    bench.now += LEASE_SECONDS - 1
    assert asyncio.run(bench.other.extend(message))
    bench.now += LEASE_SECONDS - 1
    assert bench.claim() == []


def test_a_clock_set_back_strands_no_message(bench: Bench) -> None:
    bench.publish(("a", "low"))
    bench.claim()
    bench.now -= 3600
    assert bench.claim_names(1) == ["a"]


def test_a_small_step_back_takes_no_lease_away(bench: Bench) -> None:
    bench.publish(("a", "low"))
    bench.claim()
    bench.now -= LEASE_SECONDS - 1
    assert bench.claim() == []


def test_the_file_is_never_in_wal_mode_and_always_synced(bench: Bench) -> None:
    """Two processes write it: WAL would meet SQLite's WAL-reset bug."""
    bench.publish(("a", "low"))
    assert bench.queue._connection is not None
    pragma = bench.queue._connection.execute
    assert pragma("PRAGMA journal_mode").fetchone() == ("truncate",)
    assert pragma("PRAGMA synchronous").fetchone() == (2,)


def test_a_queue_that_cannot_be_written_is_not_ready(
    bench: Bench, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.queue.sqlite._BUSY_SECONDS", 0.01)
    with closing(sqlite3.connect(state_folder / "queue.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            asyncio.run(bench.queue.ready())
        other.execute("ROLLBACK")
    asyncio.run(bench.queue.ready())


def test_readiness_writes(bench: Bench, state_folder: Path) -> None:
    """A check that only reads doesn't notice a full disk."""
    asyncio.run(bench.queue.ready())
    before = (state_folder / "queue.db").stat().st_mtime_ns
    asyncio.run(bench.queue.ready())
    assert (state_folder / "queue.db").stat().st_mtime_ns > before


def test_whoever_lost_the_lease_can_do_nothing(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (late,) = bench.claim()
    bench.now += LEASE_SECONDS
    (current,) = bench.claim()
    assert not asyncio.run(bench.other.extend(late))
    assert not asyncio.run(bench.other.acknowledge(late))
    assert not asyncio.run(bench.other.release(late))
    assert not asyncio.run(bench.other.dead(late, "late"))
    assert asyncio.run(bench.other.acknowledge(current))


def test_an_acknowledged_message_never_comes_back(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (message,) = bench.claim()
    assert asyncio.run(bench.other.acknowledge(message))
    bench.now += 10 * LEASE_SECONDS
    assert bench.claim() == []


def test_a_released_message_comes_back_at_once(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (message,) = bench.claim()
    assert asyncio.run(bench.other.release(message))
    assert bench.claim_names(1) == ["a"]


def test_a_dead_message_is_kept_for_people_only(bench: Bench, state_folder: Path) -> None:
    bench.publish(("a", "low"))
    (message,) = bench.claim()
    assert asyncio.run(bench.other.dead(message, "unknown job"))
    bench.now += 10 * LEASE_SECONDS
    assert bench.claim() == []
    with sqlite3.connect(state_folder / "queue.db") as connection:
        rows = connection.execute("SELECT job_id, reason FROM dead_messages").fetchall()
    connection.close()
    assert rows == [("a", "unknown job")]


def test_a_failed_publish_leaves_nothing_half_done(bench: Bench) -> None:
    bad = NewMessage("b", "urgent", {})  # type: ignore[arg-type]  # what a caller must not do
    with pytest.raises(KeyError):
        asyncio.run(bench.queue.publish([NewMessage("a", "low", {}), bad]))
    assert bench.claim() == []


def test_two_consumers_never_get_the_same_message(bench: Bench) -> None:
    bench.publish(*((f"job-{number}", "normal") for number in range(40)))

    async def race() -> list[str]:
        claims = [queue.claim(3) for _ in range(8) for queue in (bench.queue, bench.other)]
        return [message.job_id for got in await asyncio.gather(*claims) for message in got]

    names = asyncio.run(race())
    assert len(names) == len(set(names)) == 40


def test_a_queue_that_is_not_there_is_not_ready(tmp_path: Path) -> None:
    """A missing file must not become an empty queue."""
    queue = open_queue(f"sqlite:///{tmp_path / 'queue.db'}")
    with pytest.raises(sqlite3.OperationalError):
        asyncio.run(queue.ready())
    assert not (tmp_path / "queue.db").exists()


def test_an_unknown_kind_of_queue_is_refused() -> None:
    with pytest.raises(SettingsError, match="QUEUE_URL: expected sqlite"):
        open_queue("kafka://somewhere")
