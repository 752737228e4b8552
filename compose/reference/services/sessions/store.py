"""Sessions in the database; what ended stays ended, whatever the clock does later."""

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection, RowMapping, text

from services.kit.database import Database
from services.sessions.lifecycle import Row, State, at

# Ended sessions are kept for a week for whoever asks what became of them.
RETENTION_SECONDS = 7 * 86_400.0

_ADD = text("""
    INSERT INTO sessions (session_id, state, ttl_seconds, created_at, heartbeat_at)
    VALUES (:id, 'active', :ttl_seconds, :created_at, :heartbeat_at)
""")
_READ = text("SELECT * FROM sessions WHERE session_id = :id")
_CHANGE = text("""
    UPDATE sessions SET state = :state, heartbeat_at = :heartbeat_at, ended_at = :ended_at
    WHERE session_id = :id
""")
_DUE = text("""
    SELECT (SELECT count(*) FROM sessions
            WHERE state = 'active' AND heartbeat_at + ttl_seconds <= :now)
         + (SELECT count(*) FROM sessions WHERE state <> 'active' AND ended_at <= :forgotten)
""")
_EXPIRE = text("""
    UPDATE sessions SET state = 'expired', ended_at = heartbeat_at + ttl_seconds
    WHERE state = 'active' AND heartbeat_at + ttl_seconds <= :now
""")
_FORGET = text("DELETE FROM sessions WHERE state <> 'active' AND ended_at <= :forgotten")
_COUNT = text("SELECT state, count(*) FROM sessions GROUP BY state")


class NoSessionError(Exception):
    """There is no session with that id."""


def add(database: Database, row: Row) -> None:
    """Store a new session."""
    database.write(lambda connection: connection.execute(_ADD, vars(row)))


def read(database: Database, session_id: str, now: float) -> Row:
    """A session as it is at `now`.

    Raises:
        NoSessionError: there is none with that id.
    """
    with database.reading() as connection:
        return at(_find(connection, session_id), now)


def heartbeat(database: Database, session_id: str, now: float) -> Row:
    """Let an active session live for its whole time again; an ended one is left as it is.

    Raises:
        NoSessionError: there is none with that id.
    """
    return _change(
        database, session_id, now, lambda row: replace(row, heartbeat_at=max(now, row.heartbeat_at))
    )


def destroy(database: Database, session_id: str, now: float) -> Row:
    """End an active session; an ended one is left as it is.

    Raises:
        NoSessionError: there is none with that id.
    """
    return _change(
        database, session_id, now, lambda row: replace(row, state="destroyed", ended_at=now)
    )


def sweep(database: Database, now: float) -> dict[State, int]:
    """Write down what has expired, forget what ended long ago, and count what there is."""
    times = {"now": now, "forgotten": now - RETENTION_SECONDS}
    with database.reading() as connection:
        due = connection.execute(_DUE, times).scalar_one()
    if due:
        with database.writing() as connection:
            connection.execute(_EXPIRE, times)
            connection.execute(_FORGET, times)
    with database.reading() as connection:
        found = {row[0]: row[1] for row in connection.execute(_COUNT)}
    return {
        "active": found.get("active", 0),
        "expired": found.get("expired", 0),
        "destroyed": found.get("destroyed", 0),
    }


def _change(database: Database, session_id: str, now: float, change: Callable[[Row], Row]) -> Row:
    """Change a session that is active; one that turns out to have expired is written so."""

    def apply(connection: Connection) -> Row:
        stored = _find(connection, session_id)
        row = at(stored, now)
        if row.state == "active":
            row = change(row)
        if row != stored:
            connection.execute(_CHANGE, vars(row))
        return row

    return database.write(apply)


def _find(connection: Connection, session_id: str) -> Row:
    row = connection.execute(_READ, {"id": session_id}).mappings().first()
    if row is None:
        raise NoSessionError(session_id)
    return _row(row)


def _row(row: RowMapping) -> Row:
    return Row(
        id=row["session_id"],
        state=row["state"],
        ttl_seconds=row["ttl_seconds"],
        created_at=row["created_at"],
        heartbeat_at=row["heartbeat_at"],
        ended_at=row["ended_at"],
    )
