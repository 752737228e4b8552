"""`/measured/soak` of the gate's summary: schemas/soak.schema.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from soak.figures import (
    bounds_of,
    minute_figures,
    request_figures,
    service_figures,
    span_figures,
)
from soak.judges import counts_of
from soak.plots import charts_of
from soak.spans import gaps_of
from traffic.pieces import read_pieces

if TYPE_CHECKING:
    from detectors.finding import Finding
    from soak.folder import SoakFolder
    from soak.session import Session


def summarise(
    folder: SoakFolder, session: Session, hard_stop: dict[str, Any] | None
) -> dict[str, Any]:
    """Everything that the criteria of gate 2 judge, and what the report shows."""
    profiles, header, pieces = session.profiles, folder.header, folder.pieces()
    spans = span_figures(folder)
    requests = request_figures(read_pieces(folder.path), profiles, pieces, header.speed)
    findings = _findings(session)
    counts = counts_of(findings)
    if not any(profile.end_step is not None for profile in profiles):
        counts["stuck_sessions"] = 0  # a system without sessions can't have a stuck one
    longest = spans["longest_span_seconds"]
    return {
        "soak_id": header.run_id,
        "engine": header.engine,
        "engine_facts": session.engine.facts(),
        "speed": header.speed,
        **spans,
        **requests,
        "services": service_figures(folder, session.services),
        "findings": [item.as_json() for item in findings],
        "detectors": counts,
        "minutes": minute_figures(folder),
        "harness": session.minutes.harness_figures(_length(session)),
        "hard_stop": hard_stop,
        "bounds": bounds_of(requests["requests"], longest, counts["restarts"]),
        "plots": charts_of(
            folder, [profile.name for profile in profiles], session.services, gaps_of(pieces)
        ),
    }


def _length(session: Session) -> float:
    piece = session.piece.piece
    return piece.end_seconds - piece.begin_seconds


def _findings(session: Session) -> list[Finding]:
    """The last word of every detector; what stopped the soak is in it in any case."""
    found = [*session.judges.all(session.known_seconds), *session.engine.findings()]
    said = {(item.detector, item.subject, item.outcome) for item in found}
    lost = [
        item
        for item in session.ending.failed
        if (item.detector, item.subject, item.outcome) not in said
    ]
    return [*lost, *found]
