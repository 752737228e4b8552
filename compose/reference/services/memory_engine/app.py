"""The memory-engine's app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from services.kit import stores
from services.kit.app import create_app
from services.kit.database import Database
from services.kit.settings import Settings
from services.memory_engine import states, texts, vectors


def build(settings: Settings) -> FastAPI:
    """The app over the database of `settings`, which `services.prepare` has migrated."""
    database = Database(settings.database_url, settings.service)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        database.close()

    app = create_app(
        settings,
        title="memory-engine",
        description="Documents, results, vectors and versioned state.",
        routers=[texts.router, vectors.router, states.router],
        lifespan=lifespan,
        ready_checks={"database": database.ready_check("results")},
    )
    stores.install(app, database)
    return app
