"""What a whole soak comes to, computed from what stands on the disk: exact, every piece."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from detectors.bounds import interval_of, mean_time_between_failures_above
from soak.minutes import MINUTE_SECONDS
from soak.sleeping import judged_samples
from soak.spans import (
    gaps_of,
    is_whole,
    longest_span_seconds,
    observed_seconds,
    spans_of,
)
from traffic.latency import LatencyLog
from traffic.sample import Outcome
from traffic.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from soak.folder import SoakFolder
    from soak.spans import Piece
    from traffic.latency import Measured
    from traffic.model import Profile
    from traffic.pieces import Piece as Journal


def span_figures(folder: SoakFolder) -> dict[str, Any]:
    """Observed time, gaps, and the longest span.

    `unbroken_seconds` and `unbroken_ratio` are None where the longest span fell short of
    what was asked for: that is no fault of the system, and never a pass.
    """
    pieces, asked = folder.pieces(), folder.header.seconds
    longest = longest_span_seconds(pieces)
    whole = is_whole(longest, asked)
    return {
        "asked_seconds": asked,
        "observed_seconds": round(observed_seconds(pieces), 3),
        "longest_span_seconds": round(longest, 3),
        "unbroken_seconds": round(max(longest, asked), 3) if whole else None,
        "unbroken_ratio": 1.0 if whole else None,
        "gaps": [gap.as_json() for gap in gaps_of(pieces)],
        "pieces": [
            {
                "number": piece.number,
                "begin_seconds": round(piece.begin_seconds, 3),
                "end_seconds": round(piece.end_seconds, 3),
                "ended": piece.ended or "killed",
            }
            for piece in pieces
        ],
    }


def request_figures(
    journals: Sequence[Journal],
    profiles: Sequence[Profile],
    pieces: Sequence[Piece],
    speed: float,
) -> dict[str, Any]:
    """`requests`, `profiles` and `latency` of the whole soak, from every sample there is."""
    log = LatencyLog([profile.name for profile in profiles])
    for sample in judged_samples(journals, pieces):
        log.add(sample)
    planned = planned_requests(profiles, pieces, speed)
    killed = {piece.number for piece in pieces if piece.ended is None}
    for journal in journals:
        # What was in flight at a kill is lost with the harness, and nobody's shortfall.
        for index in journal.profile if journal.header.piece in killed else ():
            planned[index] += 1
    rows = {
        profile.name: {
            "per_second": round(profile.per_second, 6),
            "planned": planned[index],
            **log.profiles[profile.name].figures(),
        }
        for index, profile in enumerate(profiles)
    }
    overall = log.overall()
    return {
        "requests": _requests(overall, sum(planned)),
        "profiles": rows,
        "latency": overall.figures()["latency"],
        "worst_lag_ms": round(overall.worst_lag_seconds * 1000, 3),
    }


def _requests(overall: Measured, planned: int) -> dict[str, Any]:
    outcomes = {item.name.lower(): overall.outcomes[item] for item in Outcome}
    unsent = (Outcome.NOT_SENT, Outcome.LATE)
    sent = overall.count - sum(overall.outcomes[item] for item in unsent)
    low, high = interval_of(overall.errors, overall.judged) if overall.judged else (None, None)
    return {
        "planned": planned,
        "sent": sent,
        "sent_ratio": round(sent / planned, 6) if planned else None,
        "ended": overall.judged,
        "errors": overall.errors,
        "error_ratio": overall.errors / overall.judged if overall.judged else None,
        "error_ratio_low": low,
        "error_ratio_high": high,
        **outcomes,
    }


def planned_requests(
    profiles: Sequence[Profile], pieces: Sequence[Piece], speed: float
) -> list[int]:
    """Requests of each profile that were due in pieces that were not killed."""
    schedule, totals = Schedule(tuple(profiles), speed), [0] * len(profiles)
    spans = [(piece, span) for piece in pieces if piece.ended for span in spans_of([piece])]
    for _, (begin, end) in spans:
        until, before = schedule.planned(end), schedule.planned(begin)
        for index, profile in enumerate(profiles):
            totals[index] += (until[index] - before[index]) * len(profile.steps)
    return totals


def read_minutes(folder: SoakFolder) -> Iterator[dict[str, Any]]:
    """The minute files, one at a time: two days of them are no small thing."""
    for path in folder.minutes:
        yield json.loads(path.read_bytes())


def minute_figures(folder: SoakFolder) -> dict[str, int]:
    """How many minute files there should be, and are; the last one of a piece is partial."""
    expected = sum(
        math.floor((end - begin) / MINUTE_SECONDS + 0.02)
        for begin, end in spans_of(folder.pieces())
    )
    partial = sum(minute["partial"] for minute in read_minutes(folder))
    written = len(folder.minutes)
    return {
        "expected": expected,
        "written": written,
        "partial": partial,
        "missing": max(0, expected - (written - partial)),
    }


def service_figures(folder: SoakFolder, services: Sequence[str]) -> dict[str, Any]:
    """What each service used over the whole soak; None for one that was never seen."""
    found: dict[str, Any] = dict.fromkeys(services)
    for minute in read_minutes(folder):
        for name, row in minute["services"].items():
            if row is not None:
                found[name] = _with(found.get(name), row)
    for row in found.values():
        if row is not None:
            first, last = row["memory_first_bytes"], row["memory_last_bytes"]
            row["memory_growth_ratio"] = round(last / first - 1, 6) if first and last else None
    return found


def _with(known: dict[str, Any] | None, row: dict[str, Any]) -> dict[str, Any]:
    known = known or {
        "memory_kind": row["memory_kind"],
        "memory_first_bytes": row["memory_bytes"],
        **dict.fromkeys(_MOST.values()),
    }
    known["memory_last_bytes"], known["restarts"] = row["memory_bytes"], row["restarts"]
    for name, most in _MOST.items():
        values = [value for value in (known[most], row[name]) if value is not None]
        known[most] = max(values, default=None)
    return known


_MOST = {
    "memory_bytes": "memory_most_bytes",
    "cpu_ratio": "cpu_most_ratio",
    "file_descriptors": "file_descriptors_most",
    "threads": "threads_most",
    "connections": "connections_most",
}


def bounds_of(
    requests: dict[str, Any], longest_seconds: float, restarts: int | None
) -> dict[str, Any]:
    """What the soak shows and no more, at 95 %; None where it shows nothing."""
    hours = longest_seconds / 3600
    shown = restarts is not None and hours > 0
    return {
        "error_ratio_below": requests["error_ratio_high"],
        "hours_between_restarts_above": (
            round(mean_time_between_failures_above(hours, restarts or 0), 4) if shown else None
        ),
    }
