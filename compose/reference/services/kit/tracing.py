"""The trace id of the request at work: one per request, carried to every neighbour."""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar

HEADER = "X-Trace-Id"
_TRACE_ID = re.compile(r"[0-9a-f]{32}")

# Outside of a request (a background task) the id stays empty until one is set.
_current: ContextVar[str] = ContextVar("trace_id", default="")


def new_trace_id() -> str:
    """A fresh random id: 32 lower-case hex digits."""
    return secrets.token_hex(16)


def accept_trace_id(offered: str | None) -> str:
    """The caller's id where it has the right form, else a fresh one."""
    return offered if offered and _TRACE_ID.fullmatch(offered) else new_trace_id()


def set_trace_id(trace_id: str) -> None:
    """Make `trace_id` the one of everything that runs in this context from now on."""
    _current.set(trace_id)


def current_trace_id() -> str:
    """The id of the request at work; empty outside of one."""
    return _current.get()
