"""What a run's jobs come to: counts, ratios and exact percentiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stack.jobs import COMPLETED, FAILED, NOT_SUBMITTED, TIMED_OUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stack.jobs import JobBoard, JobRun


def job_figures(runs: Sequence[JobRun], submissions_sha256: str) -> dict[str, Any]:
    """The summary's `jobs`; `failed_ratio` is None where no job ended."""
    by_status = {
        status: sum(run.status == status for run in runs)
        for status in (COMPLETED, FAILED, TIMED_OUT, NOT_SUBMITTED)
    }
    ended = by_status[COMPLETED] + by_status[FAILED]
    return {
        "planned": len(runs),
        "submitted": len(runs) - by_status[NOT_SUBMITTED],
        "completed": by_status[COMPLETED],
        "failed": by_status[FAILED],
        "timed_out": by_status[TIMED_OUT],
        # Accepted, and at the last poll the API did not answer for it.
        "lost": sum(run.status == TIMED_OUT and not run.known for run in runs),
        "failed_ratio": round(by_status[FAILED] / ended, 6) if ended else None,
        "submissions_sha256": submissions_sha256,
        "items": [run.as_json() for run in runs],
    }


def latencies(board: JobBoard) -> dict[str, Any]:
    """The summary's `latency`: a step without samples is not in it."""
    samples: dict[str, Sequence[float | None]] = {
        "submit": [run.submit_seconds for run in board.runs if run.job_id],
        "poll": board.poll_seconds,
        "completion": [run.completed_seconds for run in board.with_status(COMPLETED)],
    }
    measured = {name: percentiles(values) for name, values in samples.items()}
    return {name: figures for name, figures in measured.items() if figures}


def percentiles(seconds: Sequence[float | None]) -> dict[str, Any] | None:
    """Exact percentiles (nearest rank) in milliseconds; None without samples."""
    samples = sorted(value for value in seconds if value is not None)
    if not samples:
        return None

    def rank(percent: int) -> float:
        return round(samples[max(0, -(-len(samples) * percent // 100) - 1)] * 1000, 3)

    return {
        "count": len(samples),
        "p50_ms": rank(50),
        "p95_ms": rank(95),
        "p99_ms": rank(99),
        "max_ms": round(samples[-1] * 1000, 3),
    }
