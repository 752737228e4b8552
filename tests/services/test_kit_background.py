"""services.kit.background: work beside the requests ends when the service does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.kit import background
from services.kit.background import beside

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import pytest


async def _left(work: Coroutine[None, None, None]) -> asyncio.Task[None]:
    async with beside(work) as task:
        await asyncio.sleep(0.01)
        assert not task.done()
    return task


def test_work_has_ended_when_the_block_is_left() -> None:
    task = asyncio.run(_left(asyncio.sleep(3600)))
    assert task.cancelled()


def test_a_cancellation_that_got_lost_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """As asyncio.wait_for of Python 3.11 loses one."""
    monkeypatch.setattr(background, "ASK_AGAIN_SECONDS", 0.01)
    lost = []

    async def deaf() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                lost.append(True)
                if len(lost) == 3:
                    raise

    assert asyncio.run(asyncio.wait_for(_left(deaf()), 20)).cancelled()
    assert len(lost) == 3


def test_work_that_ends_badly_is_logged_and_ends_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def clumsy() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise RuntimeError("on the way out")

    asyncio.run(_left(clumsy()))
    assert "ended badly" in caplog.text
