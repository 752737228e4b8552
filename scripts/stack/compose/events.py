"""Events of one project's containers, as the engine tells them while the system runs.

A container that ends and is started again looks healthy a moment later; its events don't.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stack.compose.containers import PROJECT_LABEL, SERVICE_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stack.compose.engine import Engine

_WANTED = ["start", "die", "oom"]
_SETTLE_SECONDS = 1.0
_TRIES = 5
# Long ago: the engine tells again what it still has.
_FIRST = 1


@dataclass(frozen=True)
class Event:
    """One start, end or memory kill of a container."""

    container: str
    service: str
    action: str
    exit_code: int | None


def _moment(value: Mapping[str, Any]) -> int:
    """When it was, in nanoseconds of the engine's clock."""
    return int(value.get("timeNano") or 0)


class EngineEvents:
    """Collects events in a thread of its own, from `open` to `close`."""

    def __init__(self, engine: Engine, project: str) -> None:
        """Nothing is asked yet."""
        self._engine, self._project = engine, project
        self._seen: list[Event] = []
        self._stream: Any = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._listening = threading.Event()
        self._known: set[tuple[int, Event]] = set()
        self._last, self._missed = 0, False

    def open(self) -> None:
        """Subscribe; every later event is seen."""
        self._stream = self._subscribe()
        self._listening.set()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._closed.set()
        if self._stream is not None:
            with contextlib.suppress(Exception):  # the engine may have closed it first
                self._stream.close()
            self._stream = None
        if self._thread is not None:
            self._thread.join(_SETTLE_SECONDS)

    def _subscribe(self, since: int | None = None, until: int | None = None) -> Any:  # noqa: ANN401 - the SDK's own stream
        filters = {"label": f"{PROJECT_LABEL}={self._project}", "event": _WANTED}
        return self._engine.client.events(since=since, until=until, decode=True, filters=filters)

    def _collect(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # broken: whatever it was, ask again
                for value in self._stream:
                    self._note(value)
            self._listening.clear()
            if self._closed.is_set() or not self._go_on():
                return

    def _note(self, value: Mapping[str, Any]) -> None:
        actor = value.get("Actor") or {}
        labels = actor.get("Attributes") or {}
        code = labels.get("exitCode")
        event = Event(
            str(actor.get("ID")),
            str(labels.get(SERVICE_LABEL, "unknown")),
            str(value.get("Action")),
            int(code) if code is not None else None,
        )
        moment = _moment(value)
        if (moment, event) not in self._known:  # else it is told again after a gap
            self._known.add((moment, event))
            self._last = moment
            self._seen.append(event)

    def _go_on(self) -> bool:
        """Listen again after a gap and hear what was told in it; whether the engine answers."""
        for _ in range(_TRIES):
            try:
                self._stream = self._subscribe(since=_FIRST)
                self._missed |= not self._replay()
            except Exception:  # noqa: BLE001 - whatever it is, the next try may do
                if self._closed.wait(_SETTLE_SECONDS):
                    return False
            else:
                self._listening.set()
                return True
        return False

    def _replay(self) -> bool:
        """Whether the engine still had the last event: it keeps a few hundred of all projects."""
        last, told = self._last, set[int]()
        now = datetime.fromisoformat(self._engine.client.info()["SystemTime"])
        for value in self._subscribe(since=_FIRST, until=int(now.timestamp()) + 1):
            self._note(value)
            told.add(_moment(value))
        return last in told

    def complete(self) -> bool:
        """Whether every event was heard; waits for a connection that is being made again."""
        return self._listening.wait(_TRIES * _SETTLE_SECONDS) and not self._missed

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
