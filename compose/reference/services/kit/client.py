"""Calls to the other services: signed afresh at each attempt, under the caller's trace id.

httpx is imported at the first call: it takes a fifth of the start-up time of services
that only ever call out to pass a signal on.
"""

from __future__ import annotations

import asyncio
import weakref
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

from services.kit import tracing
from services.kit.access import SERVICE_HEADER
from services.kit.errors import ServiceError
from services.kit.keyring import SigningKey
from services.kit.tokens import TokenSigner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from services.kit.settings import Settings

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0
PASSING_STATUSES = frozenset({502, 503, 504})

# One per event loop: a connection can't be used on another loop than it was made on.
_clients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = (
    weakref.WeakKeyDictionary()
)


class ServiceClient:
    """Calls one neighbour in the name of this service."""

    def __init__(self, settings: Settings, target: str) -> None:
        """Call `target` at the URL that the settings give for it."""
        self._target = target
        self._base_url = settings.urls[target]
        self._signer = _signer(settings.keys_folder, settings.service)

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        timeout_seconds: float = 5.0,
        attempts: int = 1,
    ) -> httpx.Response:
        """Send a request and read the whole answer, whatever its status.

        Where nothing, or 502-504, comes back it is sent up to `attempts` times: more
        than one only where repeating the request does no harm.

        Raises:
            ServiceError: 503, the neighbour did not answer.
        """
        from httpx import TransportError

        pause_seconds = _FIRST_PAUSE_SECONDS
        for attempt in range(1, attempts + 1):
            request = self._build(method, path, json, timeout_seconds)
            try:
                response = await shared_client().send(request)
                if attempt == attempts or response.status_code not in PASSING_STATUSES:
                    return response
            except TransportError as problem:
                if attempt == attempts:
                    raise self._unavailable() from problem
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, _LONGEST_PAUSE_SECONDS)
        raise ValueError(f"attempts: expected 1 or more, got {attempts}")

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, *, json: object = None, timeout_seconds: float = 5.0
    ) -> AsyncIterator[httpx.Response]:
        """Send a request and give the answer as it comes; the time-out is per read.

        Raises:
            ServiceError: 503, the neighbour did not answer, or went away meanwhile.
        """
        from httpx import TransportError

        request = self._build(method, path, json, timeout_seconds)
        try:
            response = await shared_client().send(request, stream=True)
            try:
                yield response
            finally:
                await response.aclose()
        except TransportError as problem:
            raise self._unavailable() from problem

    def _build(self, method: str, path: str, json: object, timeout_seconds: float) -> httpx.Request:
        headers = {tracing.HEADER: tracing.current_trace_id() or tracing.new_trace_id()}
        request = shared_client().build_request(
            method, self._base_url + path, json=json, headers=headers, timeout=timeout_seconds
        )
        # Signed last: what is signed are the target and the bytes as they will be sent.
        target = request.url.raw_path.decode("ascii")
        token = self._signer.issue(self._target, request.method, target, request.content)
        request.headers[SERVICE_HEADER] = token
        return request

    def _unavailable(self) -> ServiceError:
        return ServiceError(503, f"{self._target} does not answer: try again later")


def shared_client() -> httpx.AsyncClient:
    """The one HTTP client of this event loop."""
    loop = asyncio.get_running_loop()
    client = _clients.get(loop)
    if client is None or client.is_closed:
        import httpx

        # Idle connections end before the server's own 5 s, so that none is reused while closing.
        limits = httpx.Limits(
            max_connections=100, max_keepalive_connections=20, keepalive_expiry=2.0
        )
        client = httpx.AsyncClient(limits=limits, trust_env=False)
        _clients[loop] = client
    return client


async def close_shared_client() -> None:
    """Close this event loop's client, if it has one."""
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.aclose()


@cache
def _signer(keys_folder: Path, service: str) -> TokenSigner:
    return TokenSigner(service, SigningKey(keys_folder, service))
