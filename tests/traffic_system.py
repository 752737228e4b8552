"""A fake system in a process of its own (tests/traffic/server.py), and traffic for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from traffic.clock import boottime_seconds
from traffic.generator import TrafficReport, run_traffic
from traffic.section import read_traffic
from traffic.target import Target

if TYPE_CHECKING:
    import subprocess

    from traffic.model import Profile
    from traffic.sample import Sample


def profile(path: str, **changes: Any) -> Profile:
    """A profile of one request, ten a second; changed keys are those of the stack file."""
    item = {"name": "one", "service": "fake", "path": path, "expect": {"status": 200}}
    (found,) = read_traffic([{**item, "every_seconds": 0.1, "timeout_seconds": 2, **changes}])
    return found


@dataclass
class FakeSystem:
    """A running server program; `send` is the generator under test."""

    process: subprocess.Popen[str]
    url: str
    samples: list[Sample] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    started: list[tuple[int, int, int, float]] = field(default_factory=list)

    def take(self, sample: Sample, text: str | None) -> None:
        """An `on_sample`."""
        self.samples.append(sample)
        self.texts.append(text)

    async def run(self, *profiles: Profile, seconds: float, **options: Any) -> TrafficReport:
        """Send traffic for some seconds."""
        target = Target({"fake": self.url}, {"KEY": "a-secret-value"}, _clean)
        return await run_traffic(
            profiles,
            target,
            **{
                "start": boottime_seconds(),
                "stop": asyncio.Event(),
                "duration_seconds": seconds,
                "on_sample": self.take,
                "on_start": lambda *begun: self.started.append(begun),
                **options,
            },
        )

    def send(self, *profiles: Profile, seconds: float, **options: Any) -> TrafficReport:
        """`run`, for a test that is not a coroutine."""
        return asyncio.run(self.run(*profiles, seconds=seconds, **options))


def _clean(text: str) -> str:
    return text.replace("a-secret-value", "[redacted]")
