"""Run a plan: submit in parallel, poll until every job ended, look behind the API."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from stack.persistence import stored_results

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stack.model import Stack
    from stack.plan import Job
    from stack.runtime import Runtime
    from stack.workload import Look, WorkloadClient

COMPLETED, FAILED, TIMED_OUT = "completed", "failed", "timed_out"
NOT_SUBMITTED, PENDING = "not_submitted", "pending"


@dataclass
class JobRun:
    """What became of one planned job; times in seconds."""

    job: Job
    job_id: str | None = None
    status: str = NOT_SUBMITTED
    submit_seconds: float | None = None
    submitted_at: float = 0.0
    completed_seconds: float | None = None
    digest: str | None = None
    error: str | None = None
    known: bool = True

    def as_json(self) -> dict[str, Any]:
        """The entry of the summary's `jobs.items`."""
        return {
            "index": self.job.index,
            "id": self.job_id,
            "strategy": self.job.strategy,
            "priority": self.job.priority,
            "target": self.job.target,
            "status": self.status,
            "submit_seconds": _rounded(self.submit_seconds),
            "completed_seconds": (
                _rounded(self.completed_seconds) if self.status == COMPLETED else None
            ),
            "digest": self.digest,
            "error": self.error,
        }


@dataclass(frozen=True)
class Persistence:
    """How many results were looked for and found with the right content, by place."""

    checked: int
    verified: int
    outcome: str
    detail: str

    @property
    def ratio(self) -> float | None:
        """The share that was found right; None where nothing was looked for."""
        return round(self.verified / self.checked, 6) if self.checked else None

    def as_json(self) -> dict[str, Any]:
        """The entry of the summary's `persistence`."""
        return dict(vars(self))


@dataclass
class JobBoard:
    """All jobs of a run. `note` receives (event, fields) for the trace."""

    client: WorkloadClient
    runs: list[JobRun]
    note: Callable[..., None]
    poll_seconds: list[float] = field(default_factory=list)

    def submit_all(self, concurrency: int, progress: Callable[[int], None]) -> None:
        """Submit every job, `concurrency` at a time; refusals stay on the board."""
        with ThreadPoolExecutor(concurrency) as pool:
            for count, _ in enumerate(pool.map(self._submit, self.runs), start=1):
                progress(count)
        self._refuse_twins()

    def _refuse_twins(self) -> None:
        """One job can't stand for two: an id that was given before is no acceptance."""
        first: dict[str, JobRun] = {}
        for run in self.runs:
            if run.job_id and first.setdefault(run.job_id, run) is not run:
                twin = first[run.job_id].job.index
                run.error = f"expected an id of its own, got {run.job_id} of job {twin}"
                run.job_id, run.status = None, NOT_SUBMITTED
                self.note("job refused", **run.as_json())

    def _submit(self, run: JobRun) -> None:
        answer = self.client.submit(run.job)
        run.submitted_at = time.monotonic() - answer.seconds
        run.submit_seconds, run.job_id, run.error = answer.seconds, answer.job_id, answer.error
        run.status = PENDING if answer.job_id else NOT_SUBMITTED
        self.note("job submitted" if answer.job_id else "job refused", **run.as_json())

    def wait_all(
        self,
        *,
        poll_seconds: float,
        timeout_seconds: float,
        concurrency: int,
        progress: Callable[[int, int], None],
    ) -> None:
        """Poll every pending job each `poll_seconds` until all ended or time is up (P5).

        Args:
            poll_seconds: from the start of one round to the start of the next.
            timeout_seconds: after it, what is pending is `timed_out`.
            concurrency: polls at a time.
            progress: receives the numbers completed and failed after each round.
        """
        deadline = time.monotonic() + timeout_seconds
        with ThreadPoolExecutor(concurrency) as pool:
            while pending := self.with_status(PENDING):
                begun = time.monotonic()
                for run, look in zip(pending, pool.map(self._look, pending), strict=True):
                    self._settle(run, look)
                progress(len(self.with_status(COMPLETED)), len(self.with_status(FAILED)))
                if time.monotonic() >= deadline:
                    break
                if self.with_status(PENDING):
                    left = deadline - time.monotonic()
                    time.sleep(max(0.0, min(begun + poll_seconds - time.monotonic(), left)))
        for run in self.with_status(PENDING):
            run.status = TIMED_OUT
            run.error = f"not finished within {timeout_seconds:g} s; last answer: {run.error}"
            self.note("job timed out", **run.as_json())

    def _look(self, run: JobRun) -> Look:
        begun = time.monotonic()
        look = self.client.look(run.job_id or "")
        self.poll_seconds.append(time.monotonic() - begun)
        return look

    def _settle(self, run: JobRun, look: Look) -> None:
        run.error, run.known = look.error, look.state != "unknown"
        if look.state not in {COMPLETED, FAILED}:
            run.error = look.error or f"status {look.status!r}"
            return
        run.status, run.digest = look.state, look.digest
        run.completed_seconds = time.monotonic() - run.submitted_at
        if look.state == FAILED and not run.error:
            run.error = "failed without a reason"
        self.note(f"job {look.state}", **run.as_json())

    def with_status(self, *statuses: str) -> list[JobRun]:
        """The jobs that have one of these statuses."""
        return [run for run in self.runs if run.status in statuses]

    def verify(self, stack: Stack, runtime: Runtime) -> dict[str, Any]:
        """Look for the result of every completed job through the API, in the store and in memory.

        Returns:
            The summary's `persistence`: `verified_ratio` is the share of completed jobs
            whose content in the store has the digest of the API; `confirmed_ratio` the
            smallest such share over the API and, where there is one, the memory service.
            None where nothing was looked at.

        Source: P6.
        """
        done = self.with_status(COMPLETED)
        api = self._verify_api(stack, done)
        rows, store = _verify_store(stack, runtime, done)
        memory = self._verify_memory(stack, runtime, done)
        return {
            "api": api.as_json(),
            "store": store.as_json(),
            "memory": memory.as_json(),
            "verified_ratio": store.ratio,
            "confirmed_ratio": _smallest(api, memory),
            "duplicates": sum(count > 1 for count, _ in rows.values()) if rows else None,
        }

    def _verify_api(self, stack: Stack, done: Sequence[JobRun]) -> Persistence:
        verified = 0
        for run in done:
            look = self.client.look(run.job_id or "")
            verified += look.state == COMPLETED and look.digest == run.digest
        what = "the API gives the same digest again"
        if stack.workload.poll_digest is None:
            what = "the API says completed again (it gives no digest)"
        return _counted(len(done), verified, what)

    def _verify_memory(self, stack: Stack, runtime: Runtime, done: Sequence[JobRun]) -> Persistence:
        name = stack.workload.memory_service
        if name is None:
            return Persistence(0, 0, "skipped", "the stack has no memory service")
        if name not in {service.name for service in runtime.services}:
            variable = stack.service(name).url_env
            detail = f"where {name} is is not known: {variable} is not set"
            return Persistence(0, 0, "skipped", detail)
        verified = 0
        for run in done:
            digest = self.client.memory_digest(run.job_id or "")
            verified += digest is not None and digest == run.digest
        return _counted(len(done), verified, f"{name} gives the same digest")


def _verify_store(
    stack: Stack, runtime: Runtime, done: Sequence[JobRun]
) -> tuple[dict[str, tuple[int, bool]], Persistence]:
    store = runtime.store(stack.workload.store)
    if store is None:
        detail = f"where the store {stack.workload.store} is is not known: give --state DIR"
        return {}, Persistence(0, 0, "inconclusive", detail)
    digests = {run.job_id: run.digest for run in done if run.job_id}
    try:
        rows = stored_results(store, stack.workload, digests)
    except ScriptError as problem:
        return {}, Persistence(len(done), 0, "failed", str(problem))
    verified = sum(rows[run.job_id] == (1, True) for run in done if run.job_id)
    if stack.workload.poll_digest and done and not any(digests.values()):
        where = f"the API's answers have no digest at {stack.workload.poll_digest}"
        return rows, Persistence(len(done), verified, "failed", where)
    return rows, _counted(
        len(done), verified, f"one row with the right content in {store.name} ({store.kind})"
    )


def _smallest(api: Persistence, memory: Persistence) -> float | None:
    ratios = [place.ratio for place in (api, memory) if place.outcome != "skipped"]
    known = [ratio for ratio in ratios if ratio is not None]
    return min(known) if known and len(known) == len(ratios) else None


def _counted(checked: int, verified: int, what: str) -> Persistence:
    if checked == 0:
        return Persistence(0, 0, "inconclusive", "no completed job to look for")
    outcome = "passed" if verified == checked else "failed"
    return Persistence(checked, verified, outcome, f"{verified} of {checked}: {what}")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
