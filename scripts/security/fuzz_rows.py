"""What each operation answered to the fuzzer, and what that comes to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from security.openapi import Operation


@dataclass
class Row:
    """What one operation answered."""

    operation: Operation
    caller: str = ""
    statuses: Counter[str] = field(default_factory=Counter)
    tried: Counter[str] = field(default_factory=Counter)  # without a token, or in search of who may
    unauthenticated: int | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """How many were sent to it, the one without a token aside."""
        return sum(self.statuses.values())

    @property
    def reached(self) -> bool:
        """Whether it did its business at least once."""
        return any(text.startswith("2") for text in self.statuses)

    def as_json(self) -> dict[str, Any]:
        """The row of fuzzing_results.json."""
        return {
            "operation": self.operation.name,
            "caller": self.caller,
            "requests": self.requests,
            "reached": self.reached,
            "statuses": dict(sorted(self.statuses.items())),
            "unauthenticated": self.unauthenticated,
            "problems": self.problems[:20],
        }


def figures(rows: list[Row]) -> dict[str, Any]:
    """The counts of the summary (schemas/fuzzing.schema.json)."""
    statuses = Counter[str]()
    for row in rows:
        statuses += row.statuses + row.tried
    return {
        "services": len({row.operation.service for row in rows}),
        "operations": len(rows),
        "operations_not_reached": sum(not row.reached for row in rows),
        "not_reached": [row.operation.name for row in rows if not row.reached],
        "operations_open": sum(
            any(text.startswith("without a token") for text in row.problems) for row in rows
        ),
        "requests": sum(row.requests for row in rows),
        "fewest_requests": min((row.requests for row in rows), default=0),
        "errors_5xx": sum(count for status, count in statuses.items() if status.startswith("5")),
        "no_answer": statuses["closed"],
        "leaks": sum("holds" in text for row in rows for text in row.problems),
        "findings": [_finding(row) for row in rows if row.problems or not row.reached],
    }


def _finding(row: Row) -> dict[str, str]:
    said = list(dict.fromkeys(row.problems)) or ["no request of it succeeded"]
    return {
        "detector": "fuzzing",
        "subject": row.operation.name,
        "outcome": "failed" if row.problems else "inconclusive",
        "detail": "; ".join(said[:3]),
    }
