"""When a session is what: a function of its row and the clock, so no sweep can be late."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

State = Literal["active", "expired", "destroyed"]


@dataclass(frozen=True)
class Row:
    """A stored session; times are Unix seconds.

    Args:
        state: as last written; an "active" one may have expired since.
        ended_at: when it was destroyed or expired, else None.
    """

    id: str
    state: State
    ttl_seconds: int
    created_at: float
    heartbeat_at: float
    ended_at: float | None

    @property
    def expires_at(self) -> float:
        """The moment from which the session is no longer active."""
        return self.heartbeat_at + self.ttl_seconds


def at(row: Row, now: float) -> Row:
    """The session as it is at `now`: expired at its expiry, not when somebody notices."""
    if row.state == "active" and now >= row.expires_at:
        return replace(row, state="expired", ended_at=row.expires_at)
    return row


def utc_text(seconds: float) -> str:
    """A Unix time as RFC 3339 text in UTC with milliseconds."""
    text = datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
