"""The outbox: jobs are published from the database, so that a committed one can't be missed."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, text

from services.kit.logs import Trouble, log, warn
from services.queue import NewMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import RowMapping

    from services.kit.database import Database
    from services.queue import Queue

SWEEP_SECONDS = 0.5
# How soon a queue that lost messages is noticed.
LOOK_SECONDS = 2.0
_BATCH = 100

_UNPUBLISHED = text("""
    SELECT number, job_id, strategy, priority, target FROM jobs
    WHERE NOT published ORDER BY number LIMIT :limit
""")
_PUBLISHED = text("UPDATE jobs SET published = true WHERE number IN :numbers").bindparams(
    bindparam("numbers", expanding=True)
)
_OPEN = text("""
    SELECT count(*) FROM jobs WHERE published AND status IN ('queued', 'running')
""")
_UNPUBLISH_OPEN = text("""
    UPDATE jobs SET published = false WHERE published AND status IN ('queued', 'running')
""")


class Outbox:
    """Publishes what the database holds and the queue doesn't know yet.

    A row counts as published after the queue has it durably. Killed in between, it is
    published again, which a queue that knows the job ignores.

    An open job that was published has a message, because a message is acknowledged after
    its job has ended, and nobody else publishes. So a queue with fewer messages than there
    are such jobs was restored, flushed or restarted without its newest writes: every open
    job is offered again. (Messages of jobs that have ended hide a loss until the executor
    has acknowledged them.)
    """

    def __init__(self, database: Database, queue: Queue) -> None:
        """Publish from `database` to `queue`."""
        self._database = database
        self._queue = queue
        self._wanted = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_look = 0.0
        self._reopened = False
        self._trouble = Trouble("jobs not published yet", "jobs are published again")
        self.queue_length = 0

    def wake(self) -> None:
        """Publish soon; may be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wanted.set)

    async def run(self) -> None:
        """Publish whenever woken, and every half second besides."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._wanted.clear()
            try:
                await self._look_for_losses()
                await self.publish_pending()
                self._trouble.over()
            except Exception as problem:  # noqa: BLE001 - whatever it is, the jobs are still there
                self._trouble.on(f"{type(problem).__name__}: {problem}")
                await asyncio.sleep(SWEEP_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_SECONDS):
                    await self._wanted.wait()

    async def publish_pending(self) -> None:
        """Publish all that is not published yet, in batches."""
        while rows := await asyncio.to_thread(self._unpublished):
            await self._queue.publish([_message(row) for row in rows])
            await asyncio.to_thread(self._mark, [row["number"] for row in rows])
            log("jobs published", count=len(rows))

    async def _look_for_losses(self) -> None:
        """Offer open jobs again at the start, and where the queue has lost some of them."""
        if not self._reopened:
            await asyncio.to_thread(self._reopen)
            self._reopened = True
        if time.monotonic() < self._next_look:
            return
        # In this order: what ends meanwhile makes the second number smaller, never larger.
        self.queue_length = await self._queue.length()
        jobs = await asyncio.to_thread(self._open)
        if self.queue_length < jobs:
            warn("the queue lost messages", expected=jobs, got=self.queue_length)
            await asyncio.to_thread(self._reopen)
        self._next_look = time.monotonic() + LOOK_SECONDS

    def _reopen(self) -> None:
        """Offer every unended job again: the queue may have been lost or restored."""
        with self._database.writing() as connection:
            connection.execute(_UNPUBLISH_OPEN)

    def _open(self) -> int:
        with self._database.reading() as connection:
            found: int = connection.execute(_OPEN).scalar_one()
            return found

    def _unpublished(self) -> Sequence[RowMapping]:
        with self._database.reading() as connection:
            return connection.execute(_UNPUBLISHED, {"limit": _BATCH}).mappings().all()

    def _mark(self, numbers: Sequence[int]) -> None:
        with self._database.writing() as connection:
            connection.execute(_PUBLISHED, {"numbers": list(numbers)})


def _message(row: RowMapping) -> NewMessage:
    body = {"strategy": row["strategy"], "target": row["target"]}
    return NewMessage(job_id=row["job_id"], priority=row["priority"], body=body)
