"""What the tests of PostgreSQL do with jobs: add them, and do several things at one moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from services.control_plane import store
from services.control_plane.schemas import NewJob
from services.kit.errors import ServiceError
from services.model_router.store import QuotaExceededError

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.kit.database import Database


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """What the actions give, or raise, when all begin at the same moment."""
    gate = threading.Barrier(len(actions))

    def run(action: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return action()
        except (ServiceError, QuotaExceededError) as problem:
            return problem

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def new_job(sequence: int = 1) -> NewJob:
    """A job as clients send it."""
    return NewJob(
        kind="fetch", strategy="vanilla", priority="low", target="http://x/", sequence=sequence
    )


def add_job(database: Database, key: str, sequence: int = 1) -> tuple[str, bool]:
    """Add a job under an idempotency key: its id, and whether it is new."""
    job, created = database.write(lambda found: store.add_job(found, new_job(sequence), key))
    return job.id, created
