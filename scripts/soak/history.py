"""What detectors need of the whole soak: windows of latency, errors by the minute, memory.

A few numbers a minute; fed as requests end, or from the disk where a soak is resumed.
"""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

from detectors.errors import ErrorWindow
from detectors.spikes import LatencyWindow, window_seconds_for, windows_of
from traffic.sample import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from traffic.model import Profile
    from traffic.sample import Sample

ERROR_WINDOW_SECONDS = 60.0


class RouteHistory:
    """One profile: its windows of latency and its errors, by the time each request was due."""

    def __init__(self, profile: Profile, speed: float) -> None:
        """See the class."""
        self.name = profile.name
        self.window_seconds = window_seconds_for(profile.per_second * len(profile.steps) * speed)
        self._late_seconds = profile.timeout_seconds * len(profile.steps)
        self._closed: list[LatencyWindow] = []
        self._open: dict[int, array[float]] = {}
        self._requests, self._errors = array("I"), array("I")

    def add(self, sample: Sample) -> None:
        """Take one request that ended."""
        if sample.outcome in {Outcome.UNFINISHED, Outcome.LATE}:
            return
        minute = int(sample.intended_seconds // ERROR_WINDOW_SECONDS)
        for column in (self._requests, self._errors):
            column.extend([0] * (minute + 1 - len(column)))
        self._requests[minute] += 1
        self._errors[minute] += sample.outcome.is_error
        number = int(sample.intended_seconds // self.window_seconds)
        if number not in self._open:
            self._close_before(sample.intended_seconds - self._late_seconds)
            self._open[number] = array("d")
        latency = sample.latency_seconds if sample.outcome.has_latency else math.nan
        self._open[number].append(latency)

    def _close_before(self, seconds: float) -> None:
        """Nothing more can come for windows that ended before that time."""
        for number in sorted(self._open):
            if (number + 1) * self.window_seconds <= seconds:
                self._closed += self._window(number, self._open.pop(number))

    def _window(self, number: int, latencies: array[float]) -> list[LatencyWindow]:
        due = [number * self.window_seconds] * len(latencies)
        return windows_of(due, latencies, self.window_seconds)

    def windows(self, *, whole: bool) -> list[LatencyWindow]:
        """The windows so far; `whole` counts those that are still open too."""
        found = [*self._closed]
        if whole:
            found += [
                row for key in sorted(self._open) for row in self._window(key, self._open[key])
            ]
        return found

    def error_windows(self) -> list[ErrorWindow]:
        """Requests and errors of each minute that had any."""
        return [
            ErrorWindow(number * ERROR_WINDOW_SECONDS, requests, errors)
            for number, (requests, errors) in enumerate(
                zip(self._requests, self._errors, strict=True)
            )
            if requests
        ]


class MemoryHistory:
    """One service's memory, a reading a minute; NaN where it could not be read."""

    def __init__(self) -> None:
        """See the class."""
        self.seconds, self.requests, self.memory_bytes = array("d"), array("d"), array("d")

    def add(self, at_seconds: float, requests: int, memory: int | None) -> None:
        """Take one reading; `requests` are those that had ended by then."""
        self.seconds.append(at_seconds)
        self.requests.append(requests)
        self.memory_bytes.append(math.nan if memory is None else memory)


class History:
    """Everything that is judged over time.

    Args:
        profiles: of the stack file, in order.
        services: of the runtime.
        speed: of the traffic.
    """

    def __init__(
        self, profiles: Sequence[Profile], services: Sequence[str], speed: float = 1.0
    ) -> None:
        """See the class."""
        self.routes = [RouteHistory(profile, speed) for profile in profiles]
        self.memory = {name: MemoryHistory() for name in services}

    def add(self, sample: Sample) -> None:
        """Take one request that ended."""
        self.routes[sample.profile].add(sample)

    def error_windows(self) -> list[ErrorWindow]:
        """All profiles together, minute by minute."""
        total: dict[float, list[int]] = {}
        for route in self.routes:
            for window in route.error_windows():
                row = total.setdefault(window.begin_seconds, [0, 0])
                row[0] += window.requests
                row[1] += window.errors
        return [ErrorWindow(begin, *counts) for begin, counts in sorted(total.items())]
