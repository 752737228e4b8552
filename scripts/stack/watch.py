"""Watch starting services: one polling thread each, one queue of events."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Protocol

from stack.health import POLL_SECONDS, probe

if TYPE_CHECKING:
    from typing import Self

    from stack.model import Service


class Watched(Protocol):
    """What runs a service: a child process, a container."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""

    def exit_text(self) -> str:
        """How it ended, for people."""


class Events(queue.SimpleQueue[tuple[str, str, str]]):
    """healthy, ready or failed; the service; a detail."""


class Watchers:
    """One polling thread a service; leaving the block ends them all."""

    def __init__(self, events: Events) -> None:
        """Report to `events`; use as a context manager."""
        self._events, self._over = events, threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Nothing polls yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End every polling thread."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def watch(self, service: Service, child: Watched) -> None:
        """Poll health, then readiness, and report each once; or one failure."""
        thread = threading.Thread(target=self._poll, args=(service, child), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _poll(self, service: Service, child: Watched) -> None:
        deadline = time.monotonic() + service.start_seconds
        for kind, path in (("healthy", service.health), ("ready", service.ready)):
            if not self._poll_until(service, child, path, deadline):
                return
            self._events.put((kind, service.name, ""))

    def _poll_until(self, service: Service, child: Watched, path: str, deadline: float) -> bool:
        while not self._over.is_set():
            seen = probe(service.url + path)
            if seen.healthy:
                return True
            if not child.running:
                detail = f"ended with {child.exit_text()} before it was ready"
                self._events.put(("failed", service.name, detail))
                return False
            if time.monotonic() > deadline:
                got = f"status {seen.status}" if seen.status else seen.error
                detail = f"was not ready within {service.start_seconds:g} s: {path} gave {got}"
                self._events.put(("failed", service.name, detail))
                return False
            self._over.wait(POLL_SECONDS)
        return False
