"""The browser tool: one GET of an allow-listed host, through the executor's own fetcher."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from services.executor.detour import NOWHERE_ELSE
from services.executor.fetch import Fetcher, FetchError
from services.executor.hosts import HostRefusedError, check_url
from services.executor.strategies import Strategy
from services.executor.tools.policy import DeniedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.executor.tools.policy import BrowserPolicy

_HEADERS = MappingProxyType({"User-Agent": "proof-pack/1.0", "Accept": "text/html,*/*;q=0.8"})


@dataclass(frozen=True)
class BrowserResult:
    """The page, or why there is none."""

    outcome: Literal["completed", "failed"]
    output: str
    http_status: int | None


async def run(
    policy: BrowserPolicy,
    allowed_hosts: Sequence[str],
    url: str,
    connect_to: Mapping[str, str] = NOWHERE_ELSE,
) -> BrowserResult:
    """Fetch one page.

    Args:
        policy: the browser section of the tool policy.
        allowed_hosts: `host` and `host:port` entries of the operator.
        url: http or https.
        connect_to: where connections to some `host:port` really go.

    Raises:
        DeniedError: the URL, or one it redirects to, is not on the list.
    """
    try:
        check_url(url, allowed_hosts)
        async with Fetcher(allowed_hosts, connect_to) as fetcher:
            page = await fetcher.fetch(url, _strategy(policy.time_out_seconds))
    except HostRefusedError as problem:
        raise DeniedError(f"browser: {problem}") from problem
    except FetchError as problem:
        if isinstance(problem.__cause__, HostRefusedError):
            raise DeniedError(f"browser: redirected: {problem}") from problem
        return BrowserResult("failed", str(problem), None)
    if len(page.content.encode("utf-8")) > policy.size_limit_bytes:
        return BrowserResult(
            "failed", f"expected at most {policy.size_limit_bytes} bytes, got more", None
        )
    return BrowserResult("completed", page.content, page.http_status)


def _strategy(seconds: float) -> Strategy:
    """One attempt: a caller who wants another one asks again."""
    return Strategy("browser", (_HEADERS,), 1, 0.0, 0.0, seconds, seconds)
