"""What the sessions service takes and answers."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from services.kit.models import AnswerModel, RequestModel

LONGEST_TTL_SECONDS = 86_400

SessionId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
SessionState = Literal["active", "expired", "destroyed"]


class SessionRequest(RequestModel):
    """How long the session lives without a heartbeat."""

    ttl_seconds: Annotated[int, Field(ge=1, le=LONGEST_TTL_SECONDS)]


class Session(AnswerModel):
    """A session as it is at the time of the answer; times are UTC (RFC 3339)."""

    id: SessionId
    state: SessionState
    ttl_seconds: int
    created: str
    last_heartbeat: str
    expires: str
    ended: str | None
