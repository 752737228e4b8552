"""Look at a project once more, take it down, and hold the engine to nothing left."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common import log
from common.cli import ScriptError
from stack.compose import leftovers
from stack.compose.containers import Container, keep_logs, list_project, look_at_all
from stack.left_over import LeftOver

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from stack.compose.command import Compose
    from stack.compose.containers import Listed
    from stack.compose.engine import Engine
    from stack.compose.events import EngineEvents
    from stack.compose.file import Composed
    from stack.model import Service

DOWN_SECONDS = 60.0
_KILLED = 137


@dataclass
class ComposeStop:
    """The end of a project.

    Args:
        compose: runs `down`.
        engine: sees what is left.
        events: open since before the start.
        project: whose label counts.
        services: the services of the stack file, for their `stop_seconds`.
        names: stack service to Compose service.
        composed: the Compose file, for its `stop_grace_period`.
        logs: the folder that logs go to.
        asked: restarts that were asked for, by container id.
        stays: something of the project could not be removed, such as a network in use.
    """

    compose: Compose
    engine: Engine
    events: EngineEvents
    project: str
    services: Sequence[Service]
    names: Mapping[str, str]
    composed: Composed
    logs: Path
    asked: Counter[str]
    containers: tuple[Container, ...] = ()
    log_files: Mapping[str, Path] = field(default_factory=dict)
    stays: bool = False

    def observe(self) -> list[str]:
        """Keep the facts and the whole log of each container; a line for what was not kept.

        Raises:
            ScriptError: the engine is gone.
        """
        listed = list_project(self.engine, self.project)
        complete = self.events.complete()
        restarts, killed = self.events.restarts(self.asked), self.events.oom_killed()
        named = set(self.names.values())
        found = look_at_all(self.engine, listed, named, restarts, killed)
        if found and not complete:
            # Restarts may have been missed, and 0 would be a guess: no rows, no figure.
            log.warn("events of the engine were missed: how often containers ended is unknown")
            found = ()
        self.containers = found
        self.log_files, findings = keep_logs(self.engine, listed, self.logs)
        return findings

    def down(self) -> list[str]:
        """Take the project down; a line for whatever did not end or go away by itself.

        Raises:
            ScriptError: the engine is gone: the project may still be there.
        """
        running = [item for item in list_project(self.engine, self.project) if item.running]
        volumes = leftovers.anonymous_volumes(self.engine, self.project)
        seen = self.events.count
        findings: list[str] = []
        try:
            self._run_down()
        except (ScriptError, OSError) as problem:  # a full disk: its output can't be kept
            findings.append(f"docker compose down failed: {problem}")
        else:
            findings += self._killed(running, seen)
        left = leftovers.things_of(self.engine, self.project)
        left += leftovers.volumes_left(self.engine, volumes)
        findings += [LeftOver(f"{thing.kind}s", f"left over: {thing}") for thing in left]
        if left:
            leftovers.remove_project(self.engine, self.project)
            leftovers.remove_things(self.engine, leftovers.volumes_left(self.engine, volumes))
            self.stays = bool(leftovers.things_of(self.engine, self.project))
        return findings

    def _run_down(self) -> None:
        grace = self.grace_seconds()
        arguments = ["down", "-v", "--remove-orphans"]
        if not self.composed.states_every_grace():  # `-t` would win over what is written there
            arguments += ["-t", str(math.ceil(grace))]
        # Compose stops in waves, one for each link of the longest chain of dependencies.
        waves = max(1, len(self.composed.services))
        self.compose.run(*arguments, seconds=DOWN_SECONDS + waves * grace)

    def grace_seconds(self) -> float:
        """The longest that any service may take: `down` knows one figure for all."""
        longest = max((item.stop_seconds for item in self.services), default=0.0)
        return max(longest, self.composed.longest_grace_seconds())

    def _killed(self, running: Sequence[Listed], seen: int) -> list[str]:
        names = {item.id: item.service for item in running}
        ends = self.events.ended_since(seen, set(names))
        return [
            LeftOver("late", f"{names[event.container]} did not stop within its grace: killed")
            for event in ends
            if event.exit_code == _KILLED
        ]
