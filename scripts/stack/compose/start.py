"""Wait until a project is up; whatever goes wrong first ends the wait and is named."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common import log
from common.cli import ScriptError
from stack.compose.containers import Listed, inspect, last_line, list_project
from stack.load import start_order
from stack.runtime import Started
from stack.watch import Events, Watchers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stack.compose.command import Compose
    from stack.compose.engine import Engine
    from stack.compose.events import EngineEvents
    from stack.model import Service

LOOK_SECONDS = 0.1
# For what the stack file does not name: databases, one-time tasks, networks.
OTHERS_SECONDS = 60.0


@dataclass
class _Handle:
    """A service's container as the last look saw it; a watcher asks it."""

    seen: Listed

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return not self.seen.over

    def exit_text(self) -> str:
        """Docker's own words, such as `Exited (1) 2 seconds ago`."""
        return f"the container state {self.seen.status!r}"


@dataclass
class ComposeStart:
    """One `up`, watched from outside.

    Args:
        compose: runs the command.
        engine: sees the containers.
        events: is open already.
        project: the project that is started.
        services: the services of the stack file.
        names: stack service to Compose service.
        clean: takes secrets out of what is shown.
    """

    compose: Compose
    engine: Engine
    events: EngineEvents
    project: str
    services: Sequence[Service]
    names: Mapping[str, str]
    clean: Callable[[str], str]
    _handles: dict[str, _Handle] = field(default_factory=dict)
    _ready: dict[str, float | None] = field(default_factory=dict)

    def run(self) -> tuple[Started, ...]:
        """Start the project; returns when each service has answered from outside.

        Raises:
            ScriptError: the first thing that went wrong, or nothing more happened in time.
        """
        begun, told = time.monotonic(), Events()
        deadline = begun + longest_chain_seconds(self.services) + OTHERS_SECONDS
        up = self.compose.start("up", "-d", "--no-build")
        try:
            with Watchers(told) as watchers:
                while not (up.over and len(self._ready) == len(self.services)):
                    self._look(watchers)
                    self._hear(told, begun)
                    if up.over:
                        self.compose.check(up)
                    if time.monotonic() > deadline:
                        raise ScriptError(self._late(deadline - begun))
        finally:
            if not up.over:
                up.end()
        return tuple(self._started(service) for service in self.services)

    def _started(self, service: Service) -> Started:
        seconds = self._ready[service.name]
        return Started(service.name, None, healthy=seconds is not None, ready_seconds=seconds)

    def _look(self, watchers: Watchers) -> None:
        """Take note of every container; a service is polled from when its container runs."""
        listed = list_project(self.engine, self.project)
        required = {self.names[item.name]: item.required for item in self.services}
        known = {item.service: item for item in listed}
        for service in self.services:
            seen = known.get(self.names[service.name])
            if seen is None:
                continue
            if service.name in self._handles:
                self._handles[service.name].seen = seen
            elif seen.running:
                handle = self._handles[service.name] = _Handle(seen)
                watchers.watch(service, handle)
        for item in listed:
            if required.get(item.service, True):
                self._refuse_trouble(item, one_time=item.service not in required)

    def _hear(self, told: Events, begun: float) -> None:
        """What the polls say, for as long as a look may wait."""
        try:
            kind, name, detail = told.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            return
        service = next(item for item in self.services if item.name == name)
        if kind == "failed" and service.required:
            raise ScriptError(self._with_last_line(self.names[name], detail))
        if kind == "failed":
            log.warn(f"optional: {self._with_last_line(self.names[name], detail)}")
            self._ready[name] = None
        if kind == "ready":
            self._ready[name] = time.monotonic() - begun

    def _refuse_trouble(self, item: Listed, *, one_time: bool) -> None:
        """Refuse a container that ended with a failure, was killed for memory, or is unhealthy."""
        failed = self.events.first_end(item.id)
        if not (item.over or item.unhealthy or failed):
            return
        state = inspect(self.engine, item.id)
        health = state["State"].get("Health") or {}
        code = failed.exit_code if failed else state["State"].get("ExitCode", 0)
        if state["State"].get("OOMKilled") or item.id in self.events.oom_killed():
            limit = state["HostConfig"].get("Memory") or 0
            what = f" (limit {limit >> 20} MiB): raise its memory limit" if limit else ""
            raise ScriptError(f"{item.service} was killed for memory{what or ': free memory'}")
        if item.unhealthy:
            said = [entry.get("Output", "").strip() for entry in health.get("Log") or ()][-1:]
            detail = f"is unhealthy: its health check said: {self.clean(' '.join(said))[-300:]}"
            raise ScriptError(self._with_last_line(item.service, detail))
        if code == 0 and one_time:
            return
        again = " and was started again" if state.get("RestartCount") else ""
        detail = f"ended with exit code {code}{again} before it was ready"
        raise ScriptError(self._with_last_line(item.service, detail))

    def _late(self, seconds: float) -> str:
        """Which services are missing, for the time-out."""
        missing = [item.name for item in self.services if item.name not in self._ready]
        seen = {item.service: item for item in list_project(self.engine, self.project)}
        first = seen.get(self.names[missing[0]]) if missing else None
        got = f"its container is {first.status!r}" if first else "it has no container yet"
        name = missing[0] if missing else "docker compose up"
        return f"{name} was not ready within {seconds:g} s: {got if missing else 'it goes on'}"

    def _with_last_line(self, service: str, detail: str) -> str:
        listed = {item.service: item for item in list_project(self.engine, self.project)}
        last = last_line(self.engine, listed[service].id, self.clean) if service in listed else ""
        return f"{service} {detail}" + (f": its last log line is: {last}" if last else "")


def longest_chain_seconds(services: Sequence[Service]) -> float:
    """How long a start may take where each service uses all of its `start_seconds`."""
    by_name = {item.name: item for item in services}
    ends: dict[str, float] = {}
    for wave in start_order(services):
        for name in wave:
            item = by_name[name]
            before = max((ends[need] for need in item.depends_on if need in ends), default=0.0)
            ends[name] = before + item.start_seconds
    return max(ends.values(), default=0.0)


def wait_ready(engine: Engine, project: str, compose_name: str, service: Service) -> None:
    """Wait until one service whose container was just started answers again.

    Raises:
        ScriptError: its container ended, or it was not ready within `start_seconds`.
    """
    told = Events()
    with Watchers(told) as watchers:
        handle: _Handle | None = None
        kind = "healthy"
        while kind == "healthy":
            known = {item.service: item for item in list_project(engine, project)}
            if handle is None:
                handle = _Handle(known[compose_name])
                watchers.watch(service, handle)
            handle.seen = known.get(compose_name, handle.seen)
            try:
                kind, _, detail = told.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
    if kind == "failed":
        raise ScriptError(f"{service.name} {detail}")
