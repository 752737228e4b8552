"""Events of one project's containers, as the engine tells them while the system runs.

A container that ends and is started again looks healthy a moment later; its events don't.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stack.compose.containers import PROJECT_LABEL, SERVICE_LABEL

if TYPE_CHECKING:
    from stack.compose.engine import Engine

_WANTED = ["start", "die", "oom"]
_SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Event:
    """One start, end or memory kill of a container."""

    container: str
    service: str
    action: str
    exit_code: int | None


class EngineEvents:
    """Collects events in a thread of its own, from `open` to `close`."""

    def __init__(self, engine: Engine, project: str) -> None:
        """Nothing is asked yet."""
        self._engine, self._project = engine, project
        self._seen: list[Event] = []
        self._stream: Any = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Subscribe; every later event is seen."""
        filters = {"label": f"{PROJECT_LABEL}={self._project}", "event": _WANTED}
        self._stream = self._engine.client.events(decode=True, filters=filters)
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        if self._stream is not None:
            with contextlib.suppress(Exception):  # the engine may have closed it first
                self._stream.close()
            self._stream = None
        if self._thread is not None:
            self._thread.join(_SETTLE_SECONDS)

    def _collect(self) -> None:
        # A broken stream ends this quietly: the facts at the end come from `inspect` too.
        with contextlib.suppress(Exception):
            for value in self._stream:
                actor = value.get("Actor") or {}
                labels = actor.get("Attributes") or {}
                code = labels.get("exitCode")
                self._seen.append(
                    Event(
                        str(actor.get("ID")),
                        str(labels.get(SERVICE_LABEL, "unknown")),
                        str(value.get("Action")),
                        int(code) if code is not None else None,
                    )
                )

    @property
    def count(self) -> int:
        """How many events there are: `ended_since` counts from here."""
        return len(self._seen)

    def restarts(self, asked: Counter[str]) -> dict[str, int]:
        """Starts of each container beyond its first and those that were asked for."""
        starts = Counter(event.container for event in self._seen if event.action == "start")
        return {name: max(0, count - 1 - asked[name]) for name, count in starts.items()}

    def oom_killed(self) -> set[str]:
        """Containers that the kernel's memory killer visited."""
        return {event.container for event in self._seen if event.action == "oom"}

    def first_end(self, container: str) -> Event | None:
        """The first time that a container ended with a failure."""
        ends = (event for event in self._seen if event.action == "die")
        return next((item for item in ends if item.container == container and item.exit_code), None)

    def ended_since(self, count: int, expected: set[str]) -> list[Event]:
        """The ends since there were `count` events, of the containers that were expected to end.

        Waits a moment for those that are still on their way.
        """
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            ends = [item for item in self._seen[count:] if item.action == "die"]
            if expected <= {item.container for item in ends} or time.monotonic() > deadline:
                return [item for item in ends if item.container in expected]
            time.sleep(0.01)
