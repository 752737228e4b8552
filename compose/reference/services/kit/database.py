"""A service's database: SQLite in WAL mode, or PostgreSQL; a commit that was acknowledged stays.

Writers take turns on both: SQLite by BEGIN IMMEDIATE, PostgreSQL by a transaction-level
advisory lock under the service's name, taken before the first statement. Every read of a
write transaction therefore sees all commits before it, so that "read, decide, write" is
as safe as alone, and rows are numbered in the order of their commits, which the lists and
the outbox rely on. SERIALIZABLE with retries would allow more writers at once, but a
service has one process and its writes are short; row locks would have to be right in
every operation, and can't lock a row that isn't there yet.
"""

from __future__ import annotations

import asyncio
import threading
import time
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.kit.engines import is_undone, open_engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sqlalchemy import Connection, Transaction

T = TypeVar("T")

WRITE_WAIT_SECONDS = 10.0
ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.1
_ADVISORY_LOCK = text("SELECT pg_advisory_xact_lock(:space, :key)")
# Any constant: it keeps our locks apart from those of other programs in the same database.
_LOCK_SPACE = 0x50_50


class Database:
    """One service's database: `with database.reading()`, `database.write(work)`."""

    def __init__(self, url: str, name: str, journal_mode: str = "WAL") -> None:
        """Make the engine; nothing is opened before the first use.

        Args:
            url: where it is.
            name: the service whose tables are written: those of one name take turns.
            journal_mode: SQLite's.
        """
        self.engine = open_engine(url, name, journal_mode)
        self._postgres = self.engine.dialect.name == "postgresql"
        self._lock_key = zlib.crc32(name.encode()) - 2**31
        self._version_table = f"alembic_version_{name.replace('-', '_')}"
        # Writers of one process queue here, first come first served; SQLite's own
        # waiting sleeps up to 100 ms and is not fair, PostgreSQL's holds a connection each.
        self._write_lock = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in a read transaction: one snapshot."""
        with self.engine.connect() as connection:
            if self._postgres:
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a write transaction: durable once the block is left."""
        with self._turn() as (connection, transaction), transaction:
            yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a write transaction, and once more where the connection was lost in it.

        `work` touches nothing but the database. It is repeated only where the server has
        undone it for certain; once the commit was sent nobody knows, so that is an error
        for the caller, whose operations change nothing when they are sent again.
        """
        pause_seconds = _FIRST_PAUSE_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            committing = False
            try:
                with self._turn() as (connection, transaction), transaction:
                    result = work(connection)
                    committing = True
                    transaction.commit()
                return result  # noqa: TRY300 - the commit is part of what may fail
            except DBAPIError as problem:
                if committing or attempt == ATTEMPTS or not is_undone(problem):
                    raise
            time.sleep(pause_seconds)
            pause_seconds *= 2
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def _turn(self) -> Iterator[tuple[Connection, Transaction]]:
        """The write lock, in this process and among all."""
        if not self._write_lock.acquire(timeout=WRITE_WAIT_SECONDS):
            raise PoolTimeoutError(f"no turn to write within {WRITE_WAIT_SECONDS:g} s")
        try:
            with self.engine.connect().execution_options(immediate=True) as connection:
                transaction = connection.begin()
                if self._postgres:
                    values = {"space": _LOCK_SPACE, "key": self._lock_key}
                    connection.execute(_ADVISORY_LOCK, values)
                yield connection, transaction
        finally:
            self._write_lock.release()

    def ready_check(self, table: str) -> Callable[[], Awaitable[None]]:
        """A readiness check: the migrations have made `table`, and a small write succeeds."""

        def check() -> None:
            with self.writing() as connection:
                # The names are constants of the calling service, not input.
                connection.execute(text(f"SELECT 1 FROM {table} LIMIT 1"))  # noqa: S608
                if self._postgres:
                    same = f"UPDATE {self._version_table} SET version_num = version_num"  # noqa: S608
                    connection.execute(text(same))
                else:
                    # Unused, and written all the same: a full disk shows here.
                    connection.exec_driver_sql("PRAGMA user_version = 0")

        async def check_in_thread() -> None:
            await asyncio.to_thread(check)

        return check_in_thread

    def connections_in_use(self) -> int:
        """How many connections of the pool are at work now."""
        in_use: int = getattr(self.engine.pool, "checkedout", int)()
        return in_use

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
