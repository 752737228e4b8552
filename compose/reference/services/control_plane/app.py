"""The control-plane's app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import Gauge

from services.control_plane import audit, jobs, simulations, workspaces
from services.control_plane.outbox import Outbox
from services.kit import stores
from services.kit.app import create_app
from services.kit.background import beside
from services.kit.database import Database
from services.kit.keyring import read_private_key
from services.kit.keys import audit_key_path
from services.kit.settings import Settings
from services.queue import open_queue


def build(settings: Settings) -> FastAPI:
    """The app over the database and queue of `settings`, which `services.prepare` has made."""
    database = Database(settings.database_url, settings.service)
    queue = open_queue(settings.queue_url)
    outbox = Outbox(database, queue)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            async with beside(outbox.run()):
                yield
        finally:
            await queue.close()
            database.close()

    app = create_app(
        settings,
        title="control-plane",
        description="Jobs, workspaces, simulations and audit bundles.",
        routers=[jobs.router, workspaces.router, simulations.router, audit.router],
        lifespan=lifespan,
        ready_checks={"database": database.ready_check("jobs"), "queue": queue.ready},
    )
    stores.install(app, database)
    length = Gauge(
        "queue_messages",
        "Messages that wait or are leased, as of the last look.",
        registry=app.state.metrics.registry,
    )
    length.set_function(lambda: outbox.queue_length)
    app.state.outbox = outbox
    app.state.signing_key = read_private_key(audit_key_path(settings.keys_folder))
    return app
