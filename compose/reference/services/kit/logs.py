"""Structured logs: one JSON object a line on stdout, with the trace id, never a token."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from services.kit.tracing import current_trace_id

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOGGER = logging.getLogger("services")
_LONGEST_TEXT = 2000
# A JSON Web Token (three dotted base64url parts) or a bearer credential.
_TOKEN = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+|(?<=\bBearer )\S{1,4096}", re.IGNORECASE)


class JsonFormatter(logging.Formatter):
    """Makes one JSON line of a record and takes secrets out of it (G3d)."""

    def __init__(self, service: str, secrets: Iterable[str]) -> None:
        """Remember who speaks, and which exact texts must never be written."""
        super().__init__()
        self._service = service
        self._secrets = sorted({secret for secret in secrets if secret}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        fields = getattr(record, "fields", {})
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "trace_id": current_trace_id(),
            "event": self._clean(record.getMessage()),
            "fields": {name: self._value(value) for name, value in fields.items()},
        }
        if record.exc_info and record.exc_info[1]:
            line["traceback"] = self._clean("".join(traceback.format_exception(record.exc_info[1])))
        return json.dumps(line)

    def _value(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        return self._clean(str(value))

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "[redacted]")
        return _TOKEN.sub("[redacted]", text)[-_LONGEST_TEXT:]


def configure_logs(service: str, secrets: Iterable[str] = ()) -> None:
    """Send all logs of this process, uvicorn's too, to stdout as JSON lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service, secrets))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.WARNING)
    _LOGGER.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.INFO)


def log(event: str, **fields: object) -> None:
    """One line of normal business."""
    _LOGGER.info(event, extra={"fields": fields})


def warn(event: str, **fields: object) -> None:
    """One line of expected trouble: a neighbour is down, a token was refused."""
    _LOGGER.warning(event, extra={"fields": fields})


class Trouble:
    """A trouble that is tried again and again: said when it begins, changes and ends."""

    def __init__(self, event: str, ended: str) -> None:
        """Name it, and its end."""
        self._event = event
        self._ended = ended
        self._reason = ""

    def on(self, reason: str) -> None:
        """It is there, for this reason."""
        if reason != self._reason:
            warn(self._event, reason=reason)
        self._reason = reason

    def over(self) -> None:
        """It is not there, or no longer."""
        if self._reason:
            log(self._ended)
        self._reason = ""


def log_bug(event: str, problem: BaseException, **fields: object) -> None:
    """One line for what should never happen, with its traceback."""
    _LOGGER.error(event, exc_info=problem, extra={"fields": fields})
