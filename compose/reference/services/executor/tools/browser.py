"""The browser tool: one GET of an allow-listed host, through the executor's own fetcher."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from services.executor.detour import NOWHERE_ELSE
from services.executor.fetch import Fetcher, FetchError
from services.executor.hosts import AddressRefusedError, HostRefusedError, check_url
from services.executor.policy.denied import DeniedError
from services.executor.strategies import Strategy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.executor.policy.data import BrowserLimits

_HEADERS = MappingProxyType({"User-Agent": "proof-pack/1.0", "Accept": "text/html,*/*;q=0.8"})


@dataclass(frozen=True)
class BrowserResult:
    """The page, or why there is none."""

    outcome: Literal["completed", "failed"]
    output: str
    http_status: int | None


async def run(
    limits: BrowserLimits,
    allowed_hosts: Sequence[str],
    url: str,
    connect_to: Mapping[str, str] = NOWHERE_ELSE,
) -> BrowserResult:
    """Fetch one page.

    Args:
        limits: how much of the page is taken, and how long it may take.
        allowed_hosts: `host` and `host:port` entries of the operator.
        url: http or https.
        connect_to: where connections to some `host:port` really go.

    Raises:
        DeniedError: the URL, or one it redirects to, is not on the list.
    """
    try:
        check_url(url, allowed_hosts)
        async with Fetcher(allowed_hosts, connect_to) as fetcher:
            page = await fetcher.fetch(url, _strategy(limits.time_out_seconds))
    except HostRefusedError as problem:
        raise DeniedError("host_not_allowed", str(problem)) from problem
    except FetchError as problem:
        if isinstance(problem.__cause__, HostRefusedError):
            raise _refused_on_the_way(problem) from problem
        return BrowserResult("failed", str(problem), None)
    if len(page.content.encode("utf-8")) > limits.size_limit_bytes:
        return BrowserResult(
            "failed", f"expected at most {limits.size_limit_bytes} bytes, got more", None
        )
    return BrowserResult("completed", page.content, page.http_status)


def _refused_on_the_way(problem: FetchError) -> DeniedError:
    """It passed the list at first: so it was redirected, or its name leads inside."""
    if isinstance(problem.__cause__, AddressRefusedError):
        return DeniedError("address_not_public", str(problem))
    return DeniedError("redirect_not_allowed", f"redirected: {problem}")


def _strategy(seconds: float) -> Strategy:
    """One attempt: a caller who wants another one asks again."""
    return Strategy("browser", (_HEADERS,), 1, 0.0, 0.0, seconds, seconds)
