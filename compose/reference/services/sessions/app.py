"""The app of the sessions service."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import Gauge
from sqlalchemy.exc import SQLAlchemyError

from services.kit import stores
from services.kit.app import create_app
from services.kit.background import beside
from services.kit.database import Database
from services.kit.logs import warn
from services.kit.settings import Settings
from services.sessions import store
from services.sessions.routes import Clock, router

SWEEP_INTERVAL_SECONDS = 1.0


def build(settings: Settings, *, clock: Clock = time.time) -> FastAPI:
    """The app over the database of `settings`, which `services.prepare` has migrated."""
    database = Database(settings.database_url, settings.service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with beside(_sweep(app, database, clock)):
                yield
        finally:
            database.close()

    app = create_app(
        settings,
        title="sessions",
        description="Sessions that live while they are heard of.",
        routers=[router],
        lifespan=lifespan,
        ready_checks={"database": database.ready_check("sessions")},
    )
    stores.install(app, database)
    app.state.clock = clock
    app.state.session_count = Gauge(
        "sessions",
        "Sessions by state, as of the last sweep.",
        ("state",),
        registry=app.state.metrics.registry,
    )
    return app


async def _sweep(app: FastAPI, database: Database, clock: Clock) -> None:
    """Sweep at a steady pace; a database that is busy or away is tried again at the next."""
    while True:
        try:
            counts = await asyncio.to_thread(store.sweep, database, clock())
        except SQLAlchemyError as problem:
            warn("sweep failed", reason=type(problem).__name__)
        else:
            for state, count in counts.items():
                app.state.session_count.labels(state).set(count)
        await asyncio.sleep(SWEEP_INTERVAL_SECONDS)
