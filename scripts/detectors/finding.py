"""What a detector says: passed, failed or not judged, with the figures it says it by."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PASSED, FAILED, NOT_JUDGED = "passed", "failed", "not_judged"
# Worst first: what could not be judged is worse than a pass, never better than a failure.
OUTCOMES = (FAILED, NOT_JUDGED, PASSED)


@dataclass(frozen=True)
class Finding:
    """One detector's word about one subject.

    Args:
        detector: what was looked for ("leak", "deadlock", …).
        subject: the service, or service/route, it was looked for in.
        outcome: passed, failed or not_judged.
        detail: one line with figures: expected and got, or what a judgement would need.
        at_seconds: when it was found, on the clock of the samples.
        figures: what the detail says, for machines.
    """

    detector: str
    subject: str
    outcome: str
    detail: str
    at_seconds: float | None = None
    figures: Mapping[str, float | int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse an outcome that is none.

        Raises:
            ValueError: a misspelt outcome would count as nothing anywhere.
        """
        if self.outcome not in OUTCOMES:
            raise ValueError(f"outcome: expected one of {OUTCOMES}, got {self.outcome!r}")

    def as_json(self) -> dict[str, Any]:
        """The entry of the evidence; JSON has no NaN and no infinity, so those are null."""
        return {
            "detector": self.detector,
            "subject": self.subject,
            "outcome": self.outcome,
            "detail": self.detail,
            "at_seconds": _plain(self.at_seconds),
            "figures": {name: _plain(value) for name, value in self.figures.items()},
        }


def outcome_of(findings: Iterable[Finding]) -> str:
    """The worst outcome; nothing looked at is not judged, never passed."""
    seen = {finding.outcome for finding in findings}
    return next((outcome for outcome in OUTCOMES if outcome in seen), NOT_JUDGED)


def _plain(value: float | None) -> float | int | None:
    if value is None or not math.isfinite(value):
        return None
    return round(value, 9)
