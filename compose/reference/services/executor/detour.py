"""Where connections really go: to a checked address, or the operator's detour.

A detour is a connection that goes elsewhere than its URL says, like curl's --connect-to.

The same job then means the same in every runtime: its URL, the Host header, the check of
ALLOWED_HOSTS, the certificate that is expected and the stored result stay as they are.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import httpx

from services.executor.addresses import checked_address

if TYPE_CHECKING:
    from collections.abc import Mapping

NOWHERE_ELSE: Mapping[str, str] = MappingProxyType({})
_DEFAULT_PORTS = {"http": 80, "https": 443}


class DetourTransport(httpx.AsyncBaseTransport):
    """httpx's own transport; no name is looked up behind it, and no connection is kept.

    A kept one would be found again by its address, and serve another name's request.
    """

    def __init__(self, connect_to: Mapping[str, str]) -> None:
        """Take the list: `host:port` in a URL -> `host:port` to connect to."""
        self._connect_to = connect_to
        self._inner = httpx.AsyncHTTPTransport(
            trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a copy of a request to where it goes; the caller keeps the original.

        Raises:
            HostRefusedError: the name leads to an address that is not public.
            httpx.ConnectError: it leads nowhere.
        """
        url = request.url
        port = url.port or _DEFAULT_PORTS.get(url.scheme, 0)
        connected = self._connect_to.get(f"{url.host}:{port}")
        if connected is None:
            host = await _address(url.host, port)
        else:
            host, _, text = connected.rpartition(":")
            port = int(text)
        detour = httpx.Request(
            request.method,
            url.copy_with(host=host, port=port),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": url.host},
        )
        return await self._inner.handle_async_request(detour)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()


async def _address(host: str, port: int) -> str:
    try:
        return await checked_address(host, port)
    except (OSError, UnicodeError) as problem:
        raise httpx.ConnectError("the name leads nowhere") from problem
