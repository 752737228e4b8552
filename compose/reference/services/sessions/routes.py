"""The operations of the sessions service; the gateway is its client."""

import secrets
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from services.kit.access import require_service
from services.kit.errors import ServiceError, errors
from services.kit.stores import AppDatabase
from services.sessions import store
from services.sessions.lifecycle import Row, utc_text
from services.sessions.schemas import Session, SessionId, SessionRequest

router = APIRouter(prefix="/v1/sessions", dependencies=[Depends(require_service)])

Clock = Callable[[], float]


async def _clock(request: Request) -> Clock:
    found: Clock = request.app.state.clock
    return found


AppClock = Annotated[Clock, Depends(_clock)]


@router.post("", status_code=201, responses=errors(401, 503))
def create_session(wanted: SessionRequest, database: AppDatabase, clock: AppClock) -> Session:
    """Create a session that lives for `ttl_seconds` after its last heartbeat."""
    now = clock()
    row = Row(secrets.token_hex(16), "active", wanted.ttl_seconds, now, now, None)
    store.add(database, row)
    return _answer(row)


@router.get("/{session_id}", responses=errors(401, 404, 503))
def read_session(session_id: SessionId, database: AppDatabase, clock: AppClock) -> Session:
    """A session as it is now; an ended one is kept for a week."""
    try:
        return _answer(store.read(database, session_id, clock()))
    except store.NoSessionError as problem:
        raise _not_found() from problem


@router.post("/{session_id}/heartbeat", responses=errors(401, 404, 409, 503))
def heartbeat_session(session_id: SessionId, database: AppDatabase, clock: AppClock) -> Session:
    """Let an active session live for its whole time again; 409 where it has ended."""
    try:
        row = store.heartbeat(database, session_id, clock())
    except store.NoSessionError as problem:
        raise _not_found() from problem
    if row.state != "active":
        raise ServiceError(409, f"the session is {row.state}: create a new one")
    return _answer(row)


@router.delete("/{session_id}", responses=errors(401, 404, 503))
def destroy_session(session_id: SessionId, database: AppDatabase, clock: AppClock) -> Session:
    """End a session; one that has ended already is answered as it is."""
    try:
        return _answer(store.destroy(database, session_id, clock()))
    except store.NoSessionError as problem:
        raise _not_found() from problem


def _not_found() -> ServiceError:
    return ServiceError(404, "there is no session with that id")


def _answer(row: Row) -> Session:
    return Session(
        id=row.id,
        state=row.state,
        ttl_seconds=row.ttl_seconds,
        created=utc_text(row.created_at),
        last_heartbeat=utc_text(row.heartbeat_at),
        expires=utc_text(row.expires_at),
        ended=None if row.ended_at is None else utc_text(row.ended_at),
    )
