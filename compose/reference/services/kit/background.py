"""Work beside the requests of a service: it ends with the service, whatever it is doing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from services.kit.logs import log_bug

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

# A cancellation may get lost: asyncio.wait_for of Python 3.11 swallows one that comes in the
# moment of its result (cpython issue 86296), and redis-py sends every command in one: about one
# in twenty was lost, measured 2026-11-21. So it is asked again until the work has ended.
ASK_AGAIN_SECONDS = 2.0


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run `work` as long as the block runs; it has ended when the block is left.

    What it raises on its way out is logged and ends nothing else.
    """
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=ASK_AGAIN_SECONDS)
        if not task.cancelled() and (problem := task.exception()) is not None:
            log_bug("work beside the requests ended badly", problem)
