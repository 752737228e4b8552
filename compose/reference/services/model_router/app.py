"""The model-router's app."""

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import Counter

from services.kit import stores
from services.kit.app import create_app
from services.kit.clock import utc_now
from services.kit.database import Database
from services.kit.settings import Settings, SettingsError
from services.model_router.providers import FaultSettingError, providers_from_environment
from services.model_router.routes import Runtime, router


def build(
    settings: Settings,
    *,
    environ: Mapping[str, str] = os.environ,
    clock: Callable[[], str] = utc_now,
) -> FastAPI:
    """The app over the database of `settings`; `environ` may hold MODEL_ROUTER_FAULTS."""
    try:
        chain = providers_from_environment(environ)
    except FaultSettingError as problem:
        raise SettingsError(str(problem)) from problem
    database = Database(settings.database_url, settings.service)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        database.close()

    app = create_app(
        settings,
        title="model-router",
        description="A deterministic seeded model behind quotas and provider fall-back.",
        routers=[router],
        lifespan=lifespan,
        ready_checks={"database": database.ready_check("model_usage")},
    )
    runs = Counter(
        "model_runs",
        "Runs by provider and outcome.",
        ("provider", "outcome"),
        registry=app.state.metrics.registry,
    )
    stores.install(app, database)
    app.state.runtime = Runtime(chain, clock, runs)
    return app
