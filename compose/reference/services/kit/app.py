"""Makes the FastAPI app of a service: health, metrics, signal, errors, trace, all alike."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Literal

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from services.kit import access, errors, signals
from services.kit.client import close_shared_client
from services.kit.logs import warn
from services.kit.metrics import Metrics
from services.kit.middleware import RequestMiddleware
from services.kit.models import AnswerModel
from services.kit.settings import Settings

VERSION = "1.0.0"
READY_TIMEOUT_SECONDS = 2.0

ReadyCheck = Callable[[], Awaitable[None]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Health(AnswerModel):
    status: Literal["ok"]
    service: str


class Readiness(AnswerModel):
    status: Literal["ready", "not ready"]
    checks: dict[str, Literal["passed", "failed"]]


def create_app(
    settings: Settings,
    *,
    title: str,
    description: str,
    routers: Sequence[APIRouter],
    lifespan: Lifespan | None = None,
    ready_checks: Mapping[str, ReadyCheck] | None = None,
) -> FastAPI:
    """The app of one service.

    `app.state` holds `settings`, `metrics` and `token_verifier`; a service adds its own.

    `lifespan` is what runs beside the requests, from start to stop. `ready_checks` is
    what must work before the service can do its business, by name: a check that
    raises, or takes over two seconds, has failed.
    """
    app = FastAPI(
        title=title,
        description=description,
        version=VERSION,
        lifespan=_lifespan(lifespan),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    metrics = Metrics()
    app.state.settings = settings
    app.state.metrics = metrics
    access.install(app, settings)
    errors.install(app)
    app.add_middleware(RequestMiddleware, metrics=metrics)  # the outermost: added last
    checks = {**(ready_checks or {}), "service-tokens": access.ready_check(app)}
    for router in (_operations(settings, metrics, checks), signals.router, *routers):
        app.include_router(router)
    return app


def _lifespan(inner: Lifespan | None) -> Lifespan:
    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        try:
            if inner is None:
                yield
            else:
                async with inner(app):
                    yield
        finally:
            await close_shared_client()

    return run


def _operations(
    settings: Settings, metrics: Metrics, ready_checks: Mapping[str, ReadyCheck]
) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/healthz")
    async def healthz() -> Health:
        """Whether the process is alive and its event loop turns."""
        return Health(status="ok", service=settings.service)

    @router.get("/readyz", responses={503: {"model": Readiness}})
    async def readyz(response: Response) -> Readiness:
        """Whether the service can do its business; 503 names what fails."""
        checks = {name: await _outcome(name, check) for name, check in ready_checks.items()}
        ready = all(outcome == "passed" for outcome in checks.values())
        response.status_code = 200 if ready else 503
        return Readiness(status="ready" if ready else "not ready", checks=checks)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def read_metrics(_request: Request) -> PlainTextResponse:
        """Counters and histograms in Prometheus' text format."""
        return PlainTextResponse(metrics.text(), media_type=metrics.content_type)

    return router


async def _outcome(name: str, check: ReadyCheck) -> Literal["passed", "failed"]:
    try:
        async with asyncio.timeout(READY_TIMEOUT_SECONDS):
            await check()
    except Exception as problem:  # noqa: BLE001 - whatever a check raises, it has failed
        warn("not ready", check=name, reason=str(problem) or type(problem).__name__)
        return "failed"
    return "passed"
