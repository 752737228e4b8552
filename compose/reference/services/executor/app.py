"""The executor's app: a worker beside the tools' API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.executor import pack
from services.executor.tools import router as tools_router
from services.executor.worker import Worker
from services.kit.app import create_app
from services.kit.background import beside
from services.kit.settings import Settings
from services.queue import open_queue


def build(settings: Settings) -> FastAPI:
    """The app over the queue of `settings`, which `services.prepare` has made."""
    queue = open_queue(settings.queue_url)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            async with beside(Worker(settings, queue).run()):
                yield
        finally:
            await queue.close()

    app = create_app(
        settings,
        title="executor",
        description="Works on jobs from the queue, and runs tools under server-side policy.",
        routers=[tools_router, pack.router],
        lifespan=lifespan,
        ready_checks={"queue": queue.ready},
    )
    app.state.body_limits = {pack.PATH: pack.BODY_LIMIT_BYTES}
    return app
