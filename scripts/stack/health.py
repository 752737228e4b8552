"""Health polls: a fresh connection each time, with one time limit for the whole answer.

A kept-alive connection was seen to answer 200 after its listener was closed,
so none is ever reused here.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stack.runtime import Runtime, Started

POLL_SECONDS = 0.03
PROBE_SECONDS = 2.0
OK_STATUS = 200


@dataclass(frozen=True)
class Probe:
    """What one poll saw; `status` is None where there was no HTTP answer at all."""

    status: int | None
    seconds: float
    error: str | None = None

    @property
    def healthy(self) -> bool:
        """Whether the answer was exactly 200."""
        return self.status == OK_STATUS


def probe(url: str, timeout_seconds: float = PROBE_SECONDS) -> Probe:
    """GET `url` once over a new connection.

    Args:
        url: http or https, host and path.
        timeout_seconds: limit for the whole answer: one that drips is cut off.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    started = time.monotonic()
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_seconds)
    cut: threading.Timer | None = None
    try:
        connection.connect()
        cut = threading.Timer(timeout_seconds, _cut, [connection.sock])
        cut.daemon = True
        cut.start()
        connection.request("GET", parts.path or "/", headers={"Connection": "close"})
        answer = connection.getresponse()
        answer.read(65536)
        return Probe(answer.status, time.monotonic() - started)
    except (OSError, http.client.HTTPException, ValueError) as problem:
        text = str(problem) or type(problem).__name__
        return Probe(None, time.monotonic() - started, text)
    finally:
        if cut:
            cut.cancel()
        connection.close()


def _cut(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)


def check_services(runtime: Runtime, started: Sequence[Started]) -> list[dict[str, Any]]:
    """Ask every service for its health and readiness once more, each over a new connection."""
    known = {item.name: item for item in started}
    rows = []
    for service in runtime.services:
        seen = [probe(service.url + path) for path in (service.health, service.ready)]
        item = known[service.name]
        rows.append(
            {
                "name": service.name,
                "url": service.url,
                "role": service.role,
                "required": service.required,
                "pid": item.pid,
                "ready_seconds": item.ready_seconds,
                "healthy": item.healthy and all(one.healthy for one in seen),
            }
        )
    return rows
