"""Versioned state: every write makes a version, and a stale writer is told so (K10)."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from sqlalchemy import Connection, text

from services.kit.access import require_caller
from services.kit.clock import utc_now
from services.kit.errors import ServiceError, errors
from services.kit.models import Identifier
from services.kit.stores import AppDatabase
from services.memory_engine.schemas import NewState, State, StateHistory, Version

router = APIRouter(prefix="/v1/state", tags=["state"])

_ADD = text("""
    INSERT INTO states (state_key, version, value, created_at)
    VALUES (:key, :version, :value, :created_at)
""")
_NEWEST = text("SELECT coalesce(max(version), 0) FROM states WHERE state_key = :key")
_READ = text("""
    SELECT version, value, created_at FROM states
    WHERE state_key = :key AND (:version = 0 OR version = :version)
    ORDER BY version DESC LIMIT 1
""")
_HISTORY = text("""
    SELECT version, value, created_at FROM states
    WHERE state_key = :key AND (:before = 0 OR version < :before)
    ORDER BY version DESC LIMIT :limit
""")


@router.put("/{key}", responses=errors(401, 409, 503))
def put_state(
    key: Identifier,
    new: NewState,
    database: AppDatabase,
    _caller: Annotated[str, Depends(require_caller)],
) -> State:
    """Write the next version; 409 where another version is the newest than expected."""

    def add(connection: Connection) -> dict[str, Any]:
        newest: int = connection.execute(_NEWEST, {"key": key}).scalar_one()
        if new.expected_version is not None and new.expected_version != newest:
            raise ServiceError(
                409, f"expected version {new.expected_version}, got {newest}: read it again"
            )
        row = {
            "version": newest + 1,
            "value": json.dumps(new.value, sort_keys=True),
            "created_at": utc_now(),
        }
        connection.execute(_ADD, {"key": key, **row})
        return row

    return _state(key, database.write(add))


@router.get("/{key}", responses=errors(401, 404, 503))
def get_state(
    key: Identifier,
    database: AppDatabase,
    _caller: Annotated[str, Depends(require_caller)],
    version: Annotated[Version | None, Query()] = None,
) -> State:
    """One version; the newest by default."""
    with database.reading() as connection:
        row = connection.execute(_READ, {"key": key, "version": version or 0}).mappings().first()
    if row is None:
        raise ServiceError(404, "there is no such state or version: write it first")
    return _state(key, dict(row))


@router.get("/{key}/history", responses=errors(401, 503))
def get_history(
    key: Identifier,
    database: AppDatabase,
    _caller: Annotated[str, Depends(require_caller)],
    before: Annotated[Version | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> StateHistory:
    """The versions before `before`, newest first; none where the key was never written."""
    values = {"key": key, "before": before or 0, "limit": limit}
    with database.reading() as connection:
        rows = connection.execute(_HISTORY, values).mappings().all()
    return StateHistory(key=key, states=[_state(key, dict(row)) for row in rows])


def _state(key: str, row: dict[str, Any]) -> State:
    return State(
        key=key,
        version=row["version"],
        value=json.loads(row["value"]),
        created_at=row["created_at"],
    )
