"""The worker: every acknowledged job ends completed or failed, with one result at most.

A job goes: claim -> is a result stored already? -> count an execution -> fetch ->
store -> report -> acknowledge. Killed anywhere, the message comes back when its lease
ends, and each step finds what the one before the kill has done:

- A result that is stored is reported, not fetched again.
- The memory-engine keeps the first result, the control-plane the first outcome.
- A message is acknowledged only after the control-plane has taken the outcome.

Executions, not deliveries, count as attempts. The control-plane counts one right
before a fetch, and only after the memory-engine has answered: while either neighbour
is down, messages come and go without using up attempts, however long. Patience ends
after MOST_REFUSALS, so that a neighbour that answers but always refuses can't keep an
acknowledged job waiting for ever; an executor that starts anew has its patience back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from services.executor.fetch import Fetcher, FetchError
from services.executor.neighbours import (
    NeighbourError,
    NeighbourRefusedError,
    Neighbours,
    StoredResult,
    UnknownJobError,
)
from services.executor.strategies import STRATEGIES
from services.kit import tracing
from services.kit.logs import Trouble, log, log_bug, warn
from services.queue import LEASE_SECONDS

if TYPE_CHECKING:
    from services.kit.settings import Settings
    from services.queue import Message, Queue

WORKERS = 8
POLL_SECONDS = 0.05
# A refused delivery waits out its lease of 5 s, so this is at least 5 minutes of patience.
MOST_REFUSALS = 60
_EXTEND_SECONDS = LEASE_SECONDS / 3
_TROUBLE_PAUSE_SECONDS = 0.5
_RELEASE_SECONDS = 0.5


class Worker:
    """Claims jobs while there are free hands, and works on them side by side."""

    def __init__(self, settings: Settings, queue: Queue, workers: int = WORKERS) -> None:
        """Work for `queue` with `workers` hands."""
        self._queue = queue
        self._workers = workers
        self._neighbours = Neighbours(settings)
        self._fetcher = Fetcher(settings.allowed_hosts, settings.connect_to)
        self._at_work: dict[asyncio.Task[None], Message] = {}
        self._refusals: Counter[str] = Counter()
        self._trouble = Trouble("queue not readable", "queue is readable again")

    async def run(self) -> None:
        """Work until cancelled; then give back what is unfinished."""
        try:
            async with self._fetcher:
                while True:
                    await self._claim_or_wait()
        finally:
            await self._give_back()

    async def _claim_or_wait(self) -> None:
        free = self._workers - len(self._at_work)
        if free == 0:
            await asyncio.wait(self._at_work, return_when=asyncio.FIRST_COMPLETED)
            return
        try:
            messages = await self._queue.claim(free)
        except Exception as problem:  # noqa: BLE001 - a queue that is down comes back
            self._trouble.on(f"{type(problem).__name__}: {problem}")
            await asyncio.sleep(_TROUBLE_PAUSE_SECONDS)
            return
        self._trouble.over()
        for message in messages:
            task = asyncio.create_task(self._hold(message))
            self._at_work[task] = message
            task.add_done_callback(self._at_work.pop)
        if not messages:
            await asyncio.sleep(POLL_SECONDS)

    async def _hold(self, message: Message) -> None:
        """Work on a message as long as its lease is ours."""
        tracing.set_trace_id(tracing.new_trace_id())
        work = asyncio.create_task(self._work(message))
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=_EXTEND_SECONDS)
                if not work.done() and not await self._extended(message):
                    warn("lease lost", job_id=message.job_id)
                    return
            work.result()
        except NeighbourError as problem:
            # Not acknowledged: it comes back when the lease ends.
            self._refusals[message.job_id] += isinstance(problem, NeighbourRefusedError)
            warn("job has to wait", job_id=message.job_id, reason=str(problem))
        except Exception as problem:  # noqa: BLE001 - one job's bug must not stop the others
            self._refusals[message.job_id] += 1
            log_bug("job not worked on", problem, job_id=message.job_id)
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await work

    async def _extended(self, message: Message) -> bool:
        try:
            return await self._queue.extend(message)
        except Exception as problem:  # noqa: BLE001 - undecided: the stores keep us from harm
            warn("lease not extended", job_id=message.job_id, reason=str(problem))
            return True

    async def _work(self, message: Message) -> None:
        try:
            outcome = await self._outcome(message)
            if outcome is not None:
                taken = await self._neighbours.report(message.job_id, outcome)
                status = outcome["status"] if taken else "ended before"
                log("job ended", job_id=message.job_id, status=status)
            await self._queue.acknowledge(message)
            del self._refusals[message.job_id]
        except UnknownJobError:
            warn("unknown job", job_id=message.job_id)
            await self._queue.dead(message, "the control-plane does not know this job")

    async def _outcome(self, message: Message) -> dict[str, Any] | None:
        """How the job ends; None where it has ended already."""
        patient = self._refusals[message.job_id] < MOST_REFUSALS
        try:
            stored = await self._neighbours.stored_result(message.job_id)
        except NeighbourRefusedError:
            if patient:
                raise
            stored = None
        if stored is not None:
            return _completed(stored)
        if not patient:
            return _failed(f"given up after {MOST_REFUSALS} refusals: a neighbour refuses it")
        start = await self._neighbours.begin(message.job_id)
        if start.word == "ended":
            return None
        if start.word == "used up":
            return _failed(f"given up: {start.attempt} executions were begun and none ended")
        try:
            strategy = STRATEGIES[message.body["strategy"]]
            fetched = await self._fetcher.fetch(message.body["target"], strategy)
        except FetchError as problem:
            return _failed(str(problem))
        return _completed(await self._neighbours.store(message.job_id, fetched))

    async def _give_back(self) -> None:
        """Stop all work and release its leases, within half a second in all."""
        held = dict(self._at_work)
        for task in held:
            task.cancel()
        with suppress(Exception):
            async with asyncio.timeout(_RELEASE_SECONDS):
                await asyncio.gather(*held, return_exceptions=True)
                for message in held.values():
                    await self._queue.release(message)


def _completed(stored: StoredResult) -> dict[str, Any]:
    return {"status": "completed", "result": asdict(stored)}


def _failed(error: str) -> dict[str, Any]:
    return {"status": "failed", "error": error}
