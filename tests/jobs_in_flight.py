"""Jobs on the reference system while something is done to it, and what must be true after."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from stack.jobs import COMPLETED, FAILED, JobBoard, JobRun
from stack.persistence import stored_results
from stack.plan import plan_jobs
from stack.workload import WorkloadClient

if TYPE_CHECKING:
    from stack.model import Stack
    from stack.runtime import Runtime

JOBS = 50


def board_of(stack: Stack, runtime: Runtime, run_id: str) -> JobBoard:
    """A board with 50 planned jobs."""
    client = WorkloadClient(stack, runtime.secrets, run_id)
    runs = [JobRun(job) for job in plan_jobs(stack.workload, JOBS, "local")]
    return JobBoard(client, runs, lambda *_args, **_fields: None)


def submit_all(board: JobBoard, moment_of: str) -> None:
    """Submit all jobs; returns at a moment that the name decides, with jobs still in flight."""
    board.submit_all(8, lambda _count: None)
    assert len(board.with_status("pending")) == JOBS
    time.sleep(random.Random(moment_of).random() / 5)  # noqa: S311 - a moment, not a secret
    last = [board.client.look(run.job_id or "") for run in board.runs[-10:]]
    assert any(look.state == "pending" for look in last), "the fault would prove nothing"


def settle(board: JobBoard, stack: Stack, runtime: Runtime) -> None:
    """Wait until all jobs ended; then each completed one has its result once, no other has one."""
    board.wait_all(
        poll_seconds=0.3,
        timeout_seconds=90,
        concurrency=8,
        progress=lambda _completed, _failed: None,
    )
    ended = board.with_status(COMPLETED, FAILED)
    assert len(ended) == JOBS, [run.as_json() for run in board.runs if run not in ended]
    store = runtime.store(stack.workload.store)
    assert store
    digests = {run.job_id or "": run.digest for run in board.runs}
    rows = stored_results(store, stack.workload, digests)
    for run in board.with_status(COMPLETED):
        assert rows[run.job_id or ""] == (1, True), run.as_json()
    for run in board.with_status(FAILED):
        assert rows[run.job_id or ""][0] == 0, run.as_json()
