"""The outbox: jobs are published from the database, so that a committed one can't be missed."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, text

from services.kit.logs import log, warn
from services.queue import NewMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import RowMapping

    from services.kit.database import Database
    from services.queue import Queue

SWEEP_SECONDS = 0.5
_BATCH = 100

_UNPUBLISHED = text("""
    SELECT number, job_id, strategy, priority, target FROM jobs
    WHERE NOT published ORDER BY number LIMIT :limit
""")
_PUBLISHED = text("UPDATE jobs SET published = true WHERE number IN :numbers").bindparams(
    bindparam("numbers", expanding=True)
)
_UNPUBLISH_OPEN = text("""
    UPDATE jobs SET published = false WHERE published AND status IN ('queued', 'running')
""")


class Outbox:
    """Publishes what the database holds and the queue doesn't know yet.

    A row counts as published after the queue has it durably. Killed in between, it is
    published again, which a queue that knows the job ignores.
    """

    def __init__(self, database: Database, queue: Queue) -> None:
        """Publish from `database` to `queue`."""
        self._database = database
        self._queue = queue
        self._wanted = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def wake(self) -> None:
        """Publish soon; may be called from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wanted.set)

    async def run(self) -> None:
        """Publish whenever woken, and every half second besides."""
        self._loop = asyncio.get_running_loop()
        reopened = False
        while True:
            self._wanted.clear()
            try:
                if not reopened:
                    await asyncio.to_thread(self._reopen)
                    reopened = True
                await self.publish_pending()
            except Exception as problem:  # noqa: BLE001 - whatever it is, the jobs are still there
                warn("jobs not published yet", reason=f"{type(problem).__name__}: {problem}")
                await asyncio.sleep(SWEEP_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), SWEEP_SECONDS)

    async def publish_pending(self) -> None:
        """Publish all that is not published yet, in batches."""
        while rows := await asyncio.to_thread(self._unpublished):
            await self._queue.publish([_message(row) for row in rows])
            await asyncio.to_thread(self._mark, [row["number"] for row in rows])
            log("jobs published", count=len(rows))

    def _reopen(self) -> None:
        """At start, offer every unended job again: the queue may have been lost or restored."""
        with self._database.writing() as connection:
            connection.execute(_UNPUBLISH_OPEN)

    def _unpublished(self) -> Sequence[RowMapping]:
        with self._database.reading() as connection:
            return connection.execute(_UNPUBLISHED, {"limit": _BATCH}).mappings().all()

    def _mark(self, numbers: Sequence[int]) -> None:
        with self._database.writing() as connection:
            connection.execute(_PUBLISHED, {"numbers": list(numbers)})


def _message(row: RowMapping) -> NewMessage:
    body = {"strategy": row["strategy"], "target": row["target"]}
    return NewMessage(job_id=row["job_id"], priority=row["priority"], body=body)
