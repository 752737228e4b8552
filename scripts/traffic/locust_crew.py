"""What is known of one Locust worker, and whether its measurements can be judged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from detectors.finding import NOT_JUDGED, PASSED, Finding
from traffic.generator import TrafficReport
from traffic.locust_wire import CLOCK_BOUND_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from traffic.locust_share import Share
    from traffic.sample import Sample
    from traffic.schedule import Start

CLOCK, LOST = "worker_clock", "lost_worker"


@dataclass
class Member:
    """A worker that joined.

    Args:
        client: Locust's id of it.
        name: its own.
        hello: what it said of itself.
    """

    client: str
    name: str
    hello: Mapping[str, Any] = field(repr=False)
    worst_clock_bound_seconds: float = 0.0
    worst_lag_seconds: float = 0.0
    most_in_flight: int = 0
    starts_sent: int = 0
    starts_not_sent: int = 0
    lost_at_seconds: float | None = None
    lost_why: str | None = None

    def __post_init__(self) -> None:
        """Begin with the clock as it was when the worker joined."""
        self.worst_clock_bound_seconds = self.hello["clock_bound_seconds"]

    def note(self, batch: Mapping[str, Any]) -> None:
        """Take the figures of a batch."""
        for name in ("worst_lag_seconds", "most_in_flight"):
            setattr(self, name, max(getattr(self, name), batch[name]))
        bound = batch["clock_bound_seconds"]
        self.worst_clock_bound_seconds = max(self.worst_clock_bound_seconds, bound)

    def as_json(self) -> dict[str, Any]:
        """The worker for evidence."""
        return {
            "name": self.name,
            "python": self.hello["python"],
            "locust": self.hello["locust"],
            "clock_bound_ms": round(self.worst_clock_bound_seconds * 1000, 3),
            "worst_lag_ms": round(self.worst_lag_seconds * 1000, 3),
            "starts_sent": self.starts_sent,
            "starts_not_sent": self.starts_not_sent,
            "lost_at_seconds": self.lost_at_seconds,
            "lost_why": self.lost_why,
        }


class Hand:
    """A worker at work; when it is lost, its part is followed up without it.

    Args:
        member: who it is.
        share: what it was asked for, and what it told.
        now_seconds: of the run.
    """

    def __init__(self, member: Member, share: Share, now_seconds: float) -> None:
        """Nothing was heard yet."""
        self.member, self.share = member, share
        self.heard_at = self.known_seconds = now_seconds
        self.ended = False
        self._rest: Iterator[Start] | None = None
        self._next: Start | None = None

    @property
    def lost(self) -> bool:
        """Whether it is gone."""
        return self._rest is not None

    @property
    def is_through(self) -> bool:
        """Whether nothing is left that a lost worker should have sent."""
        return self._next is None

    def is_behind(self, now_seconds: float) -> bool:
        """Whether something is left that was due by now."""
        return self._next is not None and self._next.intended_seconds <= now_seconds

    def lose(self, why: str) -> Iterator[Sample]:
        """It is gone: what it had begun, broken off at the last time that is known.

        A request of a dead worker is none that the system let wait.
        """
        self.member.lost_at_seconds, self.member.lost_why = round(self.known_seconds, 3), why
        self._rest = self.share.rest()
        self._next = next(self._rest, None)
        return self.share.broken_off(self.known_seconds)

    def overdue(self, now_seconds: float, most: int) -> Iterator[Sample]:
        """What it should have sent by now; after a long silence not all at once."""
        for _ in range(most):
            if self._rest is None or self._next is None or not self.is_behind(now_seconds):
                return
            yield from self.share.not_sent(self._next, now_seconds)
            self.member.starts_not_sent += 1
            self._next = next(self._rest, None)


def report_of(hands: Sequence[Hand], planned_starts: int, unfinished: int) -> TrafficReport:
    """What all workers did; `most_in_flight` is of each at its own moment, added."""
    for hand in hands:
        hand.member.starts_sent = hand.share.sent
    return TrafficReport(
        planned_starts,
        due_starts=sum(hand.share.due + hand.member.starts_not_sent for hand in hands),
        sent_starts=sum(hand.share.sent for hand in hands),
        unfinished=unfinished,
        most_in_flight=sum(hand.member.most_in_flight for hand in hands),
        worst_lag_seconds=max((hand.member.worst_lag_seconds for hand in hands), default=0.0),
    )


def clock_finding(member: Member) -> Finding:
    """Whether a worker's times can be held against the master's."""
    bound, limit = member.worst_clock_bound_seconds, CLOCK_BOUND_SECONDS
    detail = (
        f"its clock was known to {bound * 1000:.1f} ms at worst, expected {limit * 1000:.0f} ms "
        "or better"
    )
    outcome = PASSED if bound <= limit else NOT_JUDGED
    return Finding(CLOCK, member.name, outcome, detail, None, {"bound_seconds": bound})


def lost_finding(member: Member) -> Finding:
    """Whether a worker was there to the end."""
    figures = {"sent": member.starts_sent, "not_sent": member.starts_not_sent}
    if member.lost_why is None:
        detail = f"it was there to the end and sent {member.starts_sent:,} starts"
        return Finding(LOST, member.name, PASSED, detail, None, figures)
    detail = f"{member.lost_why}; {member.starts_not_sent:,} starts were not sent"
    return Finding(LOST, member.name, NOT_JUDGED, detail, member.lost_at_seconds, figures)
