"""`--engine locust`: the traffic of one run, sent by Locust workers on other machines.

`LocustEngine.run_traffic` takes what `generator.run_traffic` takes and gives the same samples
to the same callbacks, so that the evidence is the same. A worker that is lost is named in the
sample of every request that it did not send.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from traffic.clock import boottime_seconds
from traffic.engines import MASTER_PORT
from traffic.generator import IN_FLIGHT_LIMIT
from traffic.locust_child import GONE, MasterChild
from traffic.locust_crew import Member, clock_finding, lost_finding
from traffic.locust_run import LocustRun
from traffic.locust_wire import (
    CLOCK_BOUND_SECONDS,
    LOST_SECONDS,
    PROTOCOL,
    check_secrets,
    code_sha256,
    token_of,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

    from detectors.finding import Finding
    from stack.model import Stack
    from traffic.generator import OnSample, OnStart, TrafficReport
    from traffic.model import Profile
    from traffic.target import Target

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_STRANGERS_SHOWN = 5


@dataclass(frozen=True)
class LocustOptions:
    """How the master is reached, and by whom.

    Args:
        host: address that it listens at; the default is for workers on this machine.
        port: 0 for any.
        workers: how many share the traffic.
        wait_seconds: how long to wait for them before the traffic begins.
        lost_seconds: a worker that is not heard of for so long is lost.
    """

    host: str = "127.0.0.1"
    port: int = MASTER_PORT
    workers: int = 2
    wait_seconds: float = 300.0
    lost_seconds: float = LOST_SECONDS


class LocustEngine:
    """A master and its workers; use it as a context, before the run's second 0 is fixed.

    Args:
        stack: the workers must have the same file.
        target: whose secrets the workers must have in their environment.
        options: see there.
        say: prints a line.
    """

    def __init__(
        self,
        stack: Stack,
        target: Target,
        options: LocustOptions,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Nothing is started yet."""
        self._stack, self._options, self._say = stack, options, say
        self._secrets = target.secrets
        self._crew: dict[str, Member] = {}
        self._strangers = 0
        self._run: LocustRun | None = None

    def __enter__(self) -> Self:
        """Start the master and wait for the workers.

        Raises:
            ConfigurationError: no token, a secret that no worker can know, a port in use.
            ScriptError: not enough workers came.
        """
        token_of(os.environ)
        check_secrets(self._stack.traffic, self._secrets, os.environ)
        options = self._options
        self._child = MasterChild(options.host, options.port, self._secrets.keys())
        try:
            self._gather()
        except BaseException:
            self._child.close()
            raise
        return self

    def __exit__(self, *_problem: object) -> None:
        """Send the workers home and end the master."""
        if self._run and self._run.done:
            with contextlib.suppress(ScriptError):  # the master has ended: nobody to be told
                self._child.command("done")
        self._child.close()

    @property
    def pid(self) -> int:
        """The master's process: its processor time is the harness's as well."""
        return self._child.pid

    @property
    def port(self) -> int:
        """Where the master listens."""
        return self._child.port

    def _gather(self) -> None:
        wanted, until = self._options.workers, boottime_seconds() + self._options.wait_seconds
        self._say(
            f"Locust master at {self._options.host}:{self.port}: waiting for {wanted} workers "
            "(`python scripts/run_locust_worker.py`)"
        )
        while len(self._crew) < wanted:
            left = until - boottime_seconds()
            event = self._child.next(left) if left > 0 else None
            if event is None:
                raise ScriptError(
                    f"expected {wanted} Locust workers within {self._options.wait_seconds:g} s, "
                    f"got {len(self._crew)}: start `run_locust_worker.py --master-port {self.port}`"
                )
            if event["event"] == GONE:
                raise ScriptError("the Locust master ended: its error stands above")
            self.admit(event)

    def admit(self, event: Mapping[str, Any]) -> None:
        """What happens at the door: workers that join, leave, or are sent away."""
        match event:
            case {"event": "hello", "worker": worker, "name": name}:
                if why := self._objection(event):
                    self._say(f"refused the worker {str(name)[:64]!r}: {why}")
                    self._child.command("refused", worker, why=why)
                    return
                self._crew[worker] = Member(worker, name, dict(event))
                self._say(f"worker {name} joined ({len(self._crew)} of {self._options.workers})")
            case {"event": "leaving", "worker": worker} if worker in self._crew:
                self._say(f"worker {self._crew.pop(worker).name} left")
            case {"event": "stranger" | "doubt", "why": why}:
                self._strangers += 1
                if self._strangers <= _STRANGERS_SHOWN:
                    self._say(f"refused a message to the Locust master: {why}")

    def _objection(self, event: Mapping[str, Any]) -> str | None:
        """Why a worker can't take part; None where it can."""
        expected = {
            "protocol": PROTOCOL,
            "code_sha256": code_sha256(),
            "stack_sha256": self._stack.sha256,
        }
        for key, wanted in expected.items():
            if (got := event.get(key)) != wanted:
                return f"{key}: expected {wanted}, got {got}: use the master's checkout and stack"
        if not _NAME.fullmatch(str(event["name"])):
            return "expected a name of up to 64 letters, digits and ._-"
        if event["name"] in {member.name for member in self._crew.values()}:
            return f"a worker named {event['name']!r} is here already: use --name"
        if len(self._crew) >= self._options.workers:
            return f"{len(self._crew)} workers are here already: expected no more"
        if not (bound := event["clock_bound_seconds"]) <= CLOCK_BOUND_SECONDS:
            return (
                f"its clock is known to {bound * 1000:.0f} ms, expected "
                f"{CLOCK_BOUND_SECONDS * 1000:.0f} ms or better: use a nearer machine"
            )
        return None

    async def run_traffic(
        self,
        profiles: Sequence[Profile],
        target: Target,
        *,
        start: float,
        stop: asyncio.Event,
        duration_seconds: float,
        on_sample: OnSample,
        on_start: OnStart | None = None,
        speed: float = 1.0,
        begin_seconds: float = 0.0,
        in_flight_limit: int = IN_FLIGHT_LIMIT,
        drain_seconds: float | None = None,
    ) -> TrafficReport:
        """Have the traffic sent; arguments, callbacks and promises are the generator's.

        Raises:
            ScriptError: the master ended.
        """
        if [*profiles] != [*self._stack.traffic] or target.secrets != self._secrets:
            raise ScriptError("the workers know the traffic of their stack file only")
        self._run = LocustRun(
            self._child,
            [*self._crew.values()],
            profiles,
            speed=speed,
            span=(begin_seconds, duration_seconds),
            start=start,
            stop=stop,
            on_sample=on_sample,
            on_start=on_start,
            lost_seconds=self._options.lost_seconds,
            at_door=self.admit,
        )
        return await self._run.run(in_flight_limit, drain_seconds)

    def known_seconds(self, now_seconds: float) -> float:
        """Until when everything that happened was told: what is judged is judged by this time.

        Workers tell once a second; one that is silent holds it up until it is lost.
        """
        return self._run.known_seconds(now_seconds) if self._run else now_seconds

    def findings(self) -> list[Finding]:
        """What can't be judged because of the workers; a lost one is no fault of the system."""
        crew = self._crew.values()
        return [find(member) for member in crew for find in (clock_finding, lost_finding)]

    def facts(self) -> dict[str, Any]:
        """For evidence: who sent the traffic."""
        return {
            "name": "locust",
            "locust": self._child.locust,
            "refused_messages": self._strangers,
            "workers": [member.as_json() for member in self._crew.values()],
        }
