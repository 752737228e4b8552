"""Bare floors for the benchmarks: the same work with none of our care."""

from __future__ import annotations

import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import requests

from common.cli import ScriptError
from stack.health_rounds import health_rounds
from stack.jobs import JobBoard, JobRun
from stack.plan import plan_jobs
from stack.ports import local_ports
from stack.workload import WorkloadClient, pointer

if TYPE_CHECKING:
    from stack.process import ProcessRuntime

CONCURRENCY = 8
JOBS = 200
_LISTEN_SECONDS = 60


def bare_start_stop(
    runtime: ProcessRuntime, intervals: int = 0, interval_seconds: float = 0.0
) -> float:
    """Start every service at once, wait until each listens, terminate all; in seconds.

    No order, no listener check, no record: what remains is the programs, and as many rounds
    of health checks as are asked for.
    """
    begun = time.perf_counter()
    processes = []
    for service in runtime.services:
        launch = runtime.programs.launch(service.name)
        with launch.log.open("ab") as output:
            processes.append(
                subprocess.Popen(
                    launch.command,
                    env=dict(launch.environment),
                    cwd=launch.folder,
                    stdout=output,
                    stderr=output,
                )
            )
    try:
        for port in local_ports(runtime.services).values():
            _wait_until_listening(port)
        system = [item for item in runtime.services if item.role == "system"]
        for _ in health_rounds(system, intervals, interval_seconds):
            pass
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    return time.perf_counter() - begun


def _wait_until_listening(port: int) -> None:
    deadline = time.monotonic() + _LISTEN_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise ScriptError(f"nothing listens on port {port} after {_LISTEN_SECONDS} s")


def submission_rates(runtime: ProcessRuntime, rounds: int) -> list[tuple[float, float | None]]:
    """Submissions a second through the job board and from a bare loop, in turn.

    Raises:
        ScriptError: a submission was refused.
    """
    pairs: list[tuple[float, float | None]] = []
    for number in range(rounds + 1):
        ours = _board_rate(runtime, f"bench-{number}")
        pairs.append((ours, _bare_rate(runtime, f"bare-{number}")))
    return pairs[1:]


def _board_rate(runtime: ProcessRuntime, run_id: str) -> float:
    stack = runtime.stack
    client = WorkloadClient(stack, runtime.secrets, run_id)
    runs = [JobRun(job) for job in plan_jobs(stack.workload, JOBS, "local")]
    board = JobBoard(client, runs, lambda *_args, **_fields: None)
    begun = time.perf_counter()
    board.submit_all(CONCURRENCY, lambda _count: None)
    rate = JOBS / (time.perf_counter() - begun)
    _settle(board)
    return rate


def _bare_rate(runtime: ProcessRuntime, run_id: str) -> float:
    stack, workload = runtime.stack, runtime.stack.workload
    client = WorkloadClient(stack, runtime.secrets, run_id)
    url = stack.service(workload.service).url + workload.submit_path
    headers = {**client.headers(workload.headers), "Content-Type": "application/json"}
    bodies = [job.body for job in plan_jobs(workload, JOBS, "local")]

    def worker(part: list[bytes]) -> list[str]:
        with requests.Session() as session:
            session.trust_env = False
            answers = [session.post(url, data=body, headers=headers, timeout=10) for body in part]
        return [str(pointer(answer.json(), workload.job_id)) for answer in answers if answer.ok]

    begun = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        parts = [bodies[number::CONCURRENCY] for number in range(CONCURRENCY)]
        accepted = [job_id for part in pool.map(worker, parts) for job_id in part]
    rate = JOBS / (time.perf_counter() - begun)
    if len(accepted) != JOBS:
        raise ScriptError(f"expected {JOBS} accepted submissions, got {len(accepted)}")
    runs = [
        JobRun(job, job_id=job_id, status="pending")
        for job, job_id in zip(plan_jobs(workload, JOBS, "local"), accepted, strict=True)
    ]
    _settle(JobBoard(client, runs, lambda *_args, **_fields: None))
    return rate


def _settle(board: JobBoard) -> None:
    """Let all jobs end, so that the next round meets an idle system."""
    if board.with_status("not_submitted"):
        raise ScriptError("a submission of the benchmark was refused")
    board.wait_all(
        poll_seconds=0.2,
        timeout_seconds=120,
        concurrency=CONCURRENCY,
        progress=lambda _completed, _failed: None,
    )
