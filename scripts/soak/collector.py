"""Takes every request as it begins and ends: journal, this minute, totals, who still waits.

Nothing here grows with the length of the run but a few numbers a minute: samples live on
the disk (traffic/journal.py).
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from soak.minutes import Minute
from traffic.sample import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from traffic.model import Profile
    from traffic.sample import Sample

LAST_REQUESTS = 200
YOUNG_SECONDS = 10.0


class Keeps(Protocol):
    """What samples are written to: traffic.journal.Journal."""

    def add(self, sample: Sample, text: str | None = None) -> None:
        """Take one sample."""


class Watches(Protocol):
    """What is told of each request: soak.watching.Watching."""

    def started(self, profile: int, step: int, sequence: int, at: float) -> None:
        """A request began."""

    def ended(self, sample: Sample) -> None:
        """A request ended."""


@dataclass(frozen=True)
class InFlight:
    """A request that has no answer yet."""

    profile: str
    step: str
    sequence: int
    intended_seconds: float

    def as_json(self) -> dict[str, Any]:
        """The request for evidence."""
        return asdict(self)


class Collector:
    """Everything that is known of the requests of one piece.

    Args:
        profiles: of the stack file, in order.
        journal: where every sample goes.
        watches: detectors that follow single requests.
        begin_seconds: of the piece, since the start of the soak.
    """

    def __init__(
        self,
        profiles: Sequence[Profile],
        journal: Keeps,
        watches: Watches,
        begin_seconds: float,
    ) -> None:
        """See the class."""
        self.profiles, self._journal, self._watches = profiles, journal, watches
        self.names = [profile.name for profile in profiles]
        self.outcomes = [array("Q", [0] * len(Outcome)) for _ in profiles]
        self.sent = 0
        self.last: deque[tuple[Sample, str | None]] = deque(maxlen=LAST_REQUESTS)
        self.last_timeout: tuple[Sample, str | None] | None = None
        self.minute = Minute(self.names, begin_seconds)
        self._before: Minute | None = None
        self._flights: dict[tuple[int, int, int], float] = {}

    def on_start(self, profile: int, step: int, sequence: int, intended_seconds: float) -> None:
        """A request is sent."""
        self._flights[profile, step, sequence] = intended_seconds
        self.sent += 1
        self.minute.started(profile)
        self._watches.started(profile, step, sequence, intended_seconds)

    def on_sample(self, sample: Sample, text: str | None) -> None:
        """A request ended, or was never sent."""
        self.keep(sample, text)
        self.count_in(sample, text)

    def keep(self, sample: Sample, text: str | None) -> None:
        """Write it down as it was, whatever it counts for."""
        self._journal.add(sample, text)

    def count_in(self, sample: Sample, text: str | None) -> None:
        """Count it for or against the system."""
        self._flights.pop((sample.profile, sample.step, sample.sequence), None)
        self.outcomes[sample.profile][sample.outcome] += 1
        self.minute.add(sample)
        self.last.append((sample, text))
        if sample.outcome is Outcome.TIMEOUT:
            self.last_timeout = (sample, text)
        self._watches.ended(sample)

    def replay(self, sample: Sample) -> None:
        """Count a request of an earlier piece, from its journal."""
        self.outcomes[sample.profile][sample.outcome] += 1
        self.sent += sample.outcome not in {Outcome.NOT_SENT, Outcome.LATE}

    def next_minute(self, begin_seconds: float) -> Minute:
        """The minute that is over; the next one begins."""
        over, self.minute = self.minute, Minute(self.names, begin_seconds)
        self._before = over
        return over

    def telling_minute(self, now: float) -> Minute:
        """This minute, or the one before while this one has hardly begun."""
        young = now - self.minute.begin_seconds < YOUNG_SECONDS
        return self._before if self._before and young else self.minute

    @property
    def in_flight(self) -> list[InFlight]:
        """The requests without an answer, the oldest first."""
        rows = sorted((at, key) for key, at in self._flights.items())
        return [
            InFlight(self.names[profile], self.profiles[profile].steps[step].name, sequence, at)
            for at, (profile, step, sequence) in rows
        ]

    @property
    def flying(self) -> int:
        """How many requests have no answer yet."""
        return len(self._flights)

    def count(self, *wanted: Outcome) -> int:
        """How many requests had one of these outcomes."""
        return sum(row[outcome] for row in self.outcomes for outcome in wanted)

    @property
    def ended(self) -> int:
        """Requests that count for or against the system."""
        return sum(map(sum, self.outcomes)) - self.count(Outcome.UNFINISHED, Outcome.LATE)

    @property
    def errors(self) -> int:
        """Requests that count against it."""
        return self.count(*(outcome for outcome in Outcome if outcome.is_error))
