"""What the fixtures of tests/services give: types to annotate tests with, and a system."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.applications import Starlette

    from services.kit.settings import Settings

START_SECONDS = 20.0


@dataclass(frozen=True)
class Served:
    """A service that answers on a real port of its own."""

    url: str
    app: Starlette
    stop: Callable[[], None]


@dataclass(frozen=True)
class System:
    """The executor's neighbours, and the settings under which it finds them."""

    memory: Served
    control: Served
    target: str
    settings: Settings
    headers: dict[str, str]

    def submit(self, path: str, strategy: str = "vanilla") -> str:
        body = {
            "kind": "fetch",
            "strategy": strategy,
            "priority": "normal",
            "target": self.target + path,
            "sequence": 1,
        }
        response = httpx.post(
            f"{self.control.url}/api/v1/jobs", json=body, headers=self.headers, trust_env=False
        )
        assert response.status_code == 201
        return str(response.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        url = f"{self.control.url}/api/v1/jobs/{job_id}"
        job: dict[str, Any] = httpx.get(url, headers=self.headers, trust_env=False).json()
        return job

    def ended(self, *job_ids: str) -> bool:
        return all(self.job(job_id)["status"] in {"completed", "failed"} for job_id in job_ids)

    def work_until(self, met: Callable[[], bool]) -> None:
        """Run a worker until `met`, then cancel it as the end of the service does."""
        asyncio.run(self._work_until(met))

    async def _work_until(self, met: Callable[[], bool]) -> None:
        from services.executor.worker import Worker
        from services.kit.background import beside
        from services.kit.client import close_shared_client
        from services.queue import open_queue

        queue = open_queue(self.settings.queue_url)
        try:
            async with beside(Worker(self.settings, queue).run()), asyncio.timeout(30):
                while not await asyncio.to_thread(met):  # noqa: ASYNC110 - what is met lies in databases
                    await asyncio.sleep(0.02)
        finally:
            await queue.close()
            await close_shared_client()


class Serve(Protocol):
    """`serve(app)` starts a service; `serve(app, port=...)` starts it where it was."""

    def __call__(self, app: Starlette, port: int = 0) -> Served: ...


class Eventually(Protocol):
    """`eventually(condition)` waits until the condition is met."""

    def __call__(self, met: Callable[[], bool], seconds: float = START_SECONDS) -> None: ...


class ServiceToken(Protocol):
    """`service_token(caller, audience, method, path, body)` signs one request.

    The body is bytes, or what is sent as JSON.
    """

    def __call__(
        self, caller: str, audience: str, method: str, path: str, body: object = None
    ) -> str: ...


class SettingsFor(Protocol):
    """`settings_for(service, urls={...}, ...)`: the settings of a service, with changes."""

    def __call__(
        self, service: str, urls: Mapping[str, str] | None = None, **changes: object
    ) -> Settings: ...
