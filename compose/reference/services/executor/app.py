"""The executor's app: a worker beside the tools' API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.executor import pack
from services.executor.policy.store import PolicyStore
from services.executor.tools import routes, setup, status
from services.executor.worker import Worker
from services.kit.app import create_app
from services.kit.background import beside
from services.kit.settings import Settings
from services.queue import open_queue


def build(settings: Settings) -> FastAPI:
    """The app over the queue of `settings`, which `services.prepare` has made."""
    queue = open_queue(settings.queue_url)
    store = PolicyStore(settings.policies_folder, settings.policy_sha256)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with beside(Worker(settings, queue).run()), beside(setup.try_sandbox(app)):
                yield
        finally:
            await queue.close()

    app = create_app(
        settings,
        title="executor",
        description="Works on jobs from the queue, and runs tools under server-side policy.",
        routers=[routes.router, status.router, pack.router],
        lifespan=lifespan,
        ready_checks={"queue": queue.ready, "policy": setup.policy_ready(store)},
    )
    app.state.body_limits = {pack.PATH: pack.BODY_LIMIT_BYTES}
    setup.install(app, settings, store)
    return app
