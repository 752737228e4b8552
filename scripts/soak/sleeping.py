"""Requests while the harness stood still: they say nothing about the system."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from traffic.sample import Outcome, Sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from soak.spans import Piece
    from traffic.pieces import Piece as Journal

    Sleeps = Sequence[tuple[float, float]]


def as_judged(sample: Sample, sleeps: Sleeps) -> Sample | None:
    """The sample as it counts: None where it was due in a sleep, unfinished if one came over it."""
    end = sample.done_seconds if sample.done_seconds >= 0 else sample.intended_seconds
    if not any(begin < end and sample.intended_seconds < awake for begin, awake in sleeps):
        return sample
    if any(begin < sample.intended_seconds < awake for begin, awake in sleeps):
        return None
    if not sample.outcome.was_sent:
        return sample
    return replace(sample, outcome=Outcome.UNFINISHED)


def judged_samples(journals: Iterable[Journal], pieces: Iterable[Piece]) -> Iterator[Sample]:
    """Every sample of some journals, as it counts."""
    sleeps = {piece.number: piece.sleeps for piece in pieces}
    for journal in journals:
        asleep = sleeps.get(journal.header.piece, ())
        for sample in journal.samples():
            if not asleep:
                yield sample
            elif judged := as_judged(sample, asleep):
                yield judged
