"""Golden requests: one for each thing the system is for, with the answer it must give (H1)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stack.model import Stack
    from stack.workload import WorkloadClient


def ask_golden(stack: Stack, client: WorkloadClient) -> list[dict[str, Any]]:
    """Send every golden request in the order of the stack file.

    Returns:
        One entry a request: name, outcome, seconds, and what differed.
    """
    answers = []
    for golden in stack.golden:
        begun = time.monotonic()
        problem = client.ask(golden)
        answers.append(
            {
                "name": golden.name,
                "service": golden.service,
                "method": golden.method,
                "path": golden.path,
                "outcome": "failed" if problem else "passed",
                "duration_seconds": round(time.monotonic() - begun, 6),
                "detail": problem or "answered as expected",
            }
        )
    return answers
