"""Connections that go elsewhere than their URL says, like curl's --connect-to.

The same job then means the same in every runtime: its URL, the Host header, the check of
ALLOWED_HOSTS, the certificate that is expected and the stored result stay as they are.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

NOWHERE_ELSE: Mapping[str, str] = MappingProxyType({})
_DEFAULT_PORTS = {"http": 80, "https": 443}


class DetourTransport(httpx.AsyncBaseTransport):
    """httpx's own transport, with the operator's list of detours before it."""

    def __init__(self, connect_to: Mapping[str, str]) -> None:
        """Take the list: `host:port` in a URL -> `host:port` to connect to."""
        self._connect_to = connect_to
        self._inner = httpx.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, or a copy of it with another URL; the caller keeps the original."""
        url = request.url
        asked = f"{url.host}:{url.port or _DEFAULT_PORTS.get(url.scheme, 0)}"
        connected = self._connect_to.get(asked)
        if connected is None:
            return await self._inner.handle_async_request(request)
        host, _, port = connected.rpartition(":")
        detour = httpx.Request(
            request.method,
            url.copy_with(host=host, port=int(port)),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": url.host},
        )
        return await self._inner.handle_async_request(detour)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()
