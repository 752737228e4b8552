"""What of a soak was observed: pieces, the gaps between them, and the longest unbroken span.

Source: G2; issue 4, item 4: only the longest unbroken observed span may count as 48 hours.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What adding up seconds since the start may lose; no gap is that short.
_ROUNDING_SECONDS = 0.001
UNOBSERVED, RESTARTED = "unobserved", "restarted"


@dataclass(frozen=True)
class Gap:
    """A time in which nothing was observed; seconds since the start of the soak.

    `kind` is unobserved where the same services ran on as far as can be seen, and
    restarted where the services or the machine were started again.
    """

    begin_seconds: float
    end_seconds: float
    kind: str
    why: str

    def as_json(self) -> dict[str, Any]:
        """The entry of the summary's `gaps`."""
        return asdict(self) | {
            "begin_seconds": round(self.begin_seconds, 3),
            "end_seconds": round(self.end_seconds, 3),
        }


@dataclass(frozen=True)
class Piece:
    """What one run of the harness observed; seconds since the start of the soak.

    `services` are keys of identities at the piece's start and `services_end` the last
    ones seen; None where a service can't be seen. `sleeps` are gaps inside the piece, in
    which the harness stood still. From `traffic_end_seconds` on no request was due; None
    where the traffic went on until the end. At `asked_end_seconds` everything that was
    asked for is observed: what comes later is the wait for the last answers.
    """

    number: int
    begin_seconds: float
    end_seconds: float
    boot_id: str
    services: Mapping[str, str | None]
    services_end: Mapping[str, str | None]
    ended: str | None = None
    traffic_end_seconds: float | None = None
    sleeps: tuple[tuple[float, float], ...] = ()
    asked_end_seconds: float | None = None

    @property
    def counted_end_seconds(self) -> float:
        """Until when it counts: waiting for answers makes up for no gap."""
        ends = (self.end_seconds, self.traffic_end_seconds, self.asked_end_seconds)
        return min(end for end in ends if end is not None)


def gaps_of(pieces: Sequence[Piece]) -> list[Gap]:
    """Every gap inside and between pieces, in the order of time."""
    found = [_between(one, other) for one, other in pairwise(pieces)]
    for piece in pieces:
        why = "the harness stood still: the machine slept, or gave it no time"
        found += [Gap(begin, end, UNOBSERVED, why) for begin, end in piece.sleeps]
    return sorted(found, key=lambda gap: gap.begin_seconds)


def _between(one: Piece, other: Piece) -> Gap:
    begin, end = one.end_seconds, max(one.end_seconds, other.begin_seconds)
    if one.boot_id != other.boot_id:
        return Gap(begin, end, RESTARTED, "the machine was booted")
    changed = sorted(
        name
        for name, key in other.services.items()
        if None not in {key, one.services_end.get(name)} and key != one.services_end[name]
    )
    if changed:
        return Gap(begin, end, RESTARTED, f"restarted: {', '.join(changed)}")
    unseen = any(None in {key, one.services_end.get(name)} for name, key in other.services.items())
    seen = "whether it was restarted can't be seen" if unseen else "the same services ran on"
    return Gap(begin, end, UNOBSERVED, f"the harness was gone; {seen}")


def spans_of(pieces: Sequence[Piece]) -> list[tuple[float, float]]:
    """The observed spans without a gap: each is inside one piece, between its sleeps."""
    spans: list[tuple[float, float]] = []
    for piece in pieces:
        found, begin = [], piece.begin_seconds
        for asleep, awake in sorted(piece.sleeps):
            found.append((begin, asleep))
            begin = awake
        found.append((begin, max(begin, piece.end_seconds)))
        over = piece.counted_end_seconds
        spans += [(begin, min(end, over)) for begin, end in found if min(end, over) > begin]
    return spans


def observed_seconds(pieces: Sequence[Piece]) -> float:
    """All observed time together."""
    return sum(end - begin for begin, end in spans_of(pieces))


def longest_span_seconds(pieces: Sequence[Piece]) -> float:
    """The longest unbroken observed span; 0 where nothing was observed."""
    return max((end - begin for begin, end in spans_of(pieces)), default=0.0)


def is_whole(span_seconds: float, asked_seconds: float) -> bool:
    """Whether a span is all that was asked for: a break of any length makes it shorter."""
    return span_seconds >= asked_seconds - _ROUNDING_SECONDS
