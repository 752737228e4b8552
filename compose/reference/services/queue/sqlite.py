"""The embedded queue: one SQLite file that control-plane and executor share.

Plain sqlite3: the executor has no other database and so need not load SQLAlchemy.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from services.queue.protocol import LEASE_SECONDS, Message, NewMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

# Not WAL: two processes write this file and would both checkpoint, which meets SQLite's
# WAL-reset corruption bug (3.7.0-3.51.2; fixed in 3.51.3, 3.50.7, 3.44.6). Not DELETE: with
# synchronous = FULL it doesn't sync the removal of the journal, as TRUNCATE does its emptying.
JOURNAL_MODE = "TRUNCATE"

_PRIORITIES = {"low": 0, "normal": 1, "high": 2}
_BUSY_SECONDS = 5.0
# No lease ends later than one lease from now: such a one was given before the clock was
# set back, by whoever may be gone. Twice that, because after a small step back the holder
# is most likely at work and about to extend.
_FREE = "(leased_until <= :now OR leased_until > :now + 2 * :lease)"
_WAITING = f"SELECT 1 FROM messages WHERE {_FREE} LIMIT 1"  # noqa: S608 - a constant
_NEXT = f"""
    SELECT sequence, job_id, body, deliveries FROM messages
    WHERE {_FREE} ORDER BY priority DESC, sequence LIMIT :count
"""  # noqa: S608 - a constant
_PUBLISH = """
    INSERT INTO messages (job_id, priority, body, leased_until, deliveries)
    VALUES (?, ?, ?, 0, 0) ON CONFLICT (job_id) DO NOTHING
"""
_LEASE = """
    UPDATE messages SET leased_until = ?, receipt = ?, deliveries = deliveries + 1
    WHERE sequence = ?
"""
# A receipt stays valid after its lease has ended, until someone else has claimed.
_EXTEND = "UPDATE messages SET leased_until = ? WHERE job_id = ? AND receipt = ?"
_COUNT = "SELECT count(*) FROM messages"
_REMOVE = "DELETE FROM messages WHERE job_id = ? AND receipt = ?"
_BURY = """
    INSERT OR REPLACE INTO dead_messages (job_id, body, deliveries, reason, died_at)
    SELECT job_id, body, deliveries, ?, ? FROM messages WHERE job_id = ? AND receipt = ?
"""


class SqliteQueue:
    """`Queue` over one SQLite file; calls run in threads, one at a time."""

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        """Take the file that `services.prepare` made."""
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    async def publish(self, messages: Sequence[NewMessage]) -> None:
        """Put messages in durably."""
        rows = [
            (message.job_id, _PRIORITIES[message.priority], json.dumps(dict(message.body)))
            for message in messages
        ]
        await self._write(lambda connection: connection.executemany(_PUBLISH, rows))

    async def claim(self, count: int) -> Sequence[Message]:
        """Lease up to `count` messages; an idle look takes no write lock."""
        return await asyncio.to_thread(self._claim, count)

    async def extend(self, message: Message) -> bool:
        """Start the lease anew."""
        return await self._lease_until(message, self._clock() + LEASE_SECONDS)

    async def release(self, message: Message) -> bool:
        """Give the lease back."""
        return await self._lease_until(message, 0.0)

    async def acknowledge(self, message: Message) -> bool:
        """Remove the message."""
        values = (message.job_id, message.receipt)
        return await self._write(lambda found: found.execute(_REMOVE, values).rowcount == 1)

    async def dead(self, message: Message, reason: str) -> bool:
        """Move the message to the table of the dead."""
        values = (message.job_id, message.receipt)

        def bury(connection: sqlite3.Connection) -> bool:
            connection.execute(_BURY, (reason[:500], self._clock(), *values))
            return connection.execute(_REMOVE, values).rowcount == 1

        return await self._write(bury)

    async def length(self) -> int:
        """How many messages wait or are leased."""

        def count() -> int:
            with self._lock:
                found: int = self._opened().execute(_COUNT).fetchone()[0]
            return found

        return await asyncio.to_thread(count)

    async def ready(self) -> None:
        """Raise where the file or its tables are missing, or nothing can be written."""

        def look(connection: sqlite3.Connection) -> None:
            connection.execute("SELECT 1 FROM messages LIMIT 1").fetchone()
            connection.execute("PRAGMA user_version = 0")  # unused, and written all the same

        await self._write(look)

    async def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _claim(self, count: int) -> Sequence[Message]:
        now = self._clock()
        values = {"now": now, "lease": LEASE_SECONDS, "count": count}
        with self._lock:
            if not self._opened().execute(_WAITING, values).fetchone():
                return []
        with self._transaction() as connection:
            rows = connection.execute(_NEXT, values).fetchall()
            return [_lease(connection, row, now) for row in rows]

    async def _lease_until(self, message: Message, until: float) -> bool:
        values = (until, message.job_id, message.receipt)
        return await self._write(lambda found: found.execute(_EXTEND, values).rowcount == 1)

    async def _write(self, action: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            with self._transaction() as connection:
                return action(connection)

        return await asyncio.to_thread(run)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            # mode=rw: a missing file is an error here, not an empty queue made on the spot.
            connection = sqlite3.connect(
                f"{_file_uri(self._path)}?mode=rw",
                uri=True,
                timeout=_BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                connection.execute(f"PRAGMA journal_mode = {JOURNAL_MODE}")
                connection.execute("PRAGMA synchronous = FULL")
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def _lease(connection: sqlite3.Connection, row: tuple[Any, ...], now: float) -> Message:
    sequence, job_id, body, deliveries = row
    receipt = secrets.token_hex(8)
    connection.execute(_LEASE, (now + LEASE_SECONDS, receipt, sequence))
    return Message(job_id, json.loads(body), receipt, deliveries + 1)


def _file_uri(path: str) -> str:
    from urllib.parse import quote

    # Windows paths start with a drive: the URI needs a slash before it.
    return f"file:{quote(path if path.startswith('/') else '/' + path)}"
