"""Exact percentiles from every sample, counted from the intended start (no sketch, no average).

The mean of the minutes' p99s is no p99: whatever is judged over a longer time is computed
from the samples of that time.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from traffic.sample import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from traffic.sample import Sample

_NAMES = {outcome: outcome.name.lower() for outcome in Outcome}


@dataclass
class Measured:
    """What some requests came to; 8 to 16 bytes a request."""

    outcomes: array[int] = field(default_factory=lambda: array("Q", [0] * len(Outcome)))
    latency_seconds: array[float] = field(default_factory=lambda: array("d"))
    token_seconds: array[float] = field(default_factory=lambda: array("d"))
    worst_lag_seconds: float = 0.0

    def add(self, sample: Sample) -> None:
        """Count one request."""
        self.outcomes[sample.outcome] += 1
        if sample.outcome.has_latency and not math.isnan(sample.done_seconds):
            self.latency_seconds.append(sample.latency_seconds)
        if not math.isnan(sample.first_token_seconds):
            self.token_seconds.append(sample.token_seconds)
        if sample.step == 0 and sample.lag_seconds > self.worst_lag_seconds:  # never true of NaN
            self.worst_lag_seconds = sample.lag_seconds

    @property
    def count(self) -> int:
        """How many requests there were, whatever came of them."""
        return sum(self.outcomes)

    @property
    def judged(self) -> int:
        """How many requests count for or against the system."""
        return sum(self.outcomes[item] for item in Outcome if item.is_judged)

    @property
    def sent(self) -> int:
        """How many requests went out."""
        return sum(self.outcomes[item] for item in Outcome if item.was_sent)

    @property
    def errors(self) -> int:
        """How many of them count against it."""
        return sum(self.outcomes[item] for item in Outcome if item.is_error)

    def figures(self) -> dict[str, Any]:
        """Counts, percentiles in milliseconds; None where there is nothing to compute from."""
        from stack.figures import percentiles

        return {
            "requests": self.count,
            "errors": self.errors,
            "error_ratio": round(self.errors / self.judged, 6) if self.judged else None,
            "outcomes": {_NAMES[item]: self.outcomes[item] for item in Outcome},
            "latency": percentiles(self.latency_seconds),
            "first_token": percentiles(self.token_seconds),
            "worst_lag_ms": round(self.worst_lag_seconds * 1000, 3),
        }


class LatencyLog:
    """Figures of each profile and of all together, as samples come.

    Args:
        names: the profiles' names, in order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Start with nothing."""
        self.profiles = {name: Measured() for name in names}
        self._by_index = tuple(self.profiles.values())

    def add(self, sample: Sample) -> None:
        """Count one request."""
        self._by_index[sample.profile].add(sample)

    def overall(self) -> Measured:
        """All profiles together: made of the same samples, never of percentiles."""
        total = Measured()
        for one in self._by_index:
            total.outcomes = array(
                "Q", [a + b for a, b in zip(total.outcomes, one.outcomes, strict=True)]
            )
            total.latency_seconds.extend(one.latency_seconds)
            total.token_seconds.extend(one.token_seconds)
            total.worst_lag_seconds = max(total.worst_lag_seconds, one.worst_lag_seconds)
        return total

    def figures(self) -> dict[str, Any]:
        """`overall` and one entry a profile."""
        return {
            "overall": self.overall().figures(),
            "profiles": {name: one.figures() for name, one in self.profiles.items()},
        }


def measure(samples: Iterable[Sample], names: Sequence[str]) -> LatencyLog:
    """The log of some samples."""
    log = LatencyLog(names)
    for sample in samples:
        log.add(sample)
    return log


def windows(
    samples: Iterable[Sample], names: Sequence[str], window_seconds: float
) -> Iterator[tuple[int, LatencyLog]]:
    """A log for each window that has samples, by intended start; window 0 begins at second 0.

    A request that ended an hour late belongs to the window in which it was meant to start.
    """
    found: dict[int, LatencyLog] = {}
    for sample in samples:
        number = int(sample.intended_seconds // window_seconds)
        if number not in found:
            found[number] = LatencyLog(names)
        found[number].add(sample)
    yield from sorted(found.items(), key=lambda item: item[0])
