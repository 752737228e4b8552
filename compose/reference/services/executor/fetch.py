"""Fetch one target politely: allow-listed hosts, bounded size and time, checked redirects."""

from __future__ import annotations

import asyncio
import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import httpx

from services.executor.detour import NOWHERE_ELSE, DetourTransport
from services.executor.hosts import HostRefusedError, check_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from services.executor.strategies import Strategy

LARGEST_BODY_BYTES = 1_048_576
MOST_REDIRECTS = 5
_LONGEST_ERROR = 300
# Python knows others whose decoding takes quadratic time (punycode): those are not trusted.
_CHARSETS = frozenset({"utf-8", "utf-16", "iso8859-1", "iso8859-15", "cp1252", "ascii"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# "Not now": worth another attempt where the strategy has one.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_RETRY_AFTER_SECONDS = 5.0


class FetchError(Exception):
    """The target could not be fetched; one bounded line for the job's error."""

    def __init__(self, message: str) -> None:
        """Bound the message to one printable line: parts of it come from the target."""
        shown = "".join(sign if sign.isascii() and sign.isprintable() else " " for sign in message)
        super().__init__(" ".join(shown.split())[:_LONGEST_ERROR])


class _PassingError(FetchError):
    """A failure that another attempt may mend, after `retry_after_seconds` at least."""

    def __init__(self, message: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True)
class Fetched:
    """What a target answered, as text that any database takes."""

    content: str
    http_status: int
    final_url: str


class Fetcher:
    """One HTTP client for all fetches; keeps no cookies from one fetch to the next."""

    def __init__(
        self, allowed_hosts: Sequence[str], connect_to: Mapping[str, str] = NOWHERE_ELSE
    ) -> None:
        """Take the `host` and `host:port` entries that may be reached, and by what way."""
        self._allowed_hosts = tuple(allowed_hosts)
        self._connect_to = connect_to
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first fetch."""
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _problem: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    async def fetch(self, url: str, strategy: Strategy) -> Fetched:
        """Fetch `url` the way `strategy` says.

        Raises:
            FetchError: refused, unreachable, too large, too slow, or not 2xx at last.
        """
        try:
            async with asyncio.timeout(strategy.budget_seconds):
                return await self._attempts(url, strategy)
        except TimeoutError as problem:
            raise FetchError(
                f"no answer within the {strategy.budget_seconds:g} s of {strategy.name}"
            ) from problem

    async def _attempts(self, url: str, strategy: Strategy) -> Fetched:
        await asyncio.sleep(strategy.pacing_seconds)
        pause_seconds = strategy.pause_seconds
        for attempt in range(strategy.attempts):
            headers = strategy.header_sets[attempt % len(strategy.header_sets)]
            try:
                return await self._once(url, headers, strategy.attempt_seconds)
            except _PassingError as problem:
                if attempt + 1 == strategy.attempts:
                    tries = "1 attempt" if attempt == 0 else f"{attempt + 1} attempts"
                    raise FetchError(f"{problem} (after {tries}, {strategy.name})") from problem
                await asyncio.sleep(max(pause_seconds, problem.retry_after_seconds))
                pause_seconds *= 2
        raise ValueError(f"attempts: expected 1 or more, got {strategy.attempts}")

    async def _once(self, url: str, headers: Mapping[str, str], seconds: float) -> Fetched:
        """One attempt, through its redirects."""
        try:
            async with asyncio.timeout(seconds):
                for _hop in range(MOST_REDIRECTS + 1):
                    answer = await self._get(url, headers)
                    if isinstance(answer, Fetched):
                        return answer
                    url = answer
        except HostRefusedError as problem:
            raise FetchError(str(problem)) from problem
        except TimeoutError as problem:
            raise _PassingError(f"no answer within {seconds:g} s") from problem
        except httpx.InvalidURL as problem:
            raise FetchError("expected a URL, got a broken one") from problem
        except httpx.RemoteProtocolError as problem:
            # The library quotes the target, such as where a redirect was to lead.
            raise _PassingError("the target does not answer by HTTP's rules") from problem
        except httpx.HTTPError as problem:
            reason = str(problem) or type(problem).__name__
            raise _PassingError(f"the target does not answer: {reason}") from problem
        raise FetchError(f"expected at most {MOST_REDIRECTS} redirects, got more")

    async def _get(self, url: str, headers: Mapping[str, str]) -> Fetched | str:
        """The answer, or where it is redirected to."""
        check_url(url, self._allowed_hosts)
        client = self._opened()
        client.cookies.clear()
        async with client.stream("GET", url, headers=dict(headers)) as response:
            status = response.status_code
            if status in _REDIRECTS and "location" in response.headers:
                return str(response.url.join(response.headers["location"]))
            if status in _PASSING:
                raise _PassingError(f"expected a 2xx answer, got {status}", _retry_after(response))
            if not response.is_success:
                raise FetchError(f"expected a 2xx answer, got {status}")
            body = await _bounded_body(response)
            return Fetched(_text(body, response.charset_encoding), status, str(response.url))

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            # Compressed answers are not asked for: a small one may unpack to gigabytes.
            # Attempts have their own time limit, which a slowly dripping answer can't renew.
            self._client = httpx.AsyncClient(
                transport=DetourTransport(self._connect_to),
                headers={"Accept-Encoding": "identity"},
                timeout=30.0,
                trust_env=False,
            )
        return self._client


async def _bounded_body(response: httpx.Response) -> bytes:
    encoding = response.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise FetchError(f"expected an answer without compression, got {encoding!r}")
    body = bytearray()
    async for block in response.aiter_raw():
        body += block
        if len(body) > LARGEST_BODY_BYTES:
            raise FetchError(f"expected at most {LARGEST_BODY_BYTES} bytes, got more")
    return bytes(body)


def _text(body: bytes, charset: str | None) -> str:
    """Text without NUL, which PostgreSQL can't hold, and without what UTF-8 can't carry."""
    try:
        name = codecs.lookup(charset or "utf-8").name
    except (LookupError, ValueError):
        name = "utf-8"
    text = body.decode(name if name in _CHARSETS else "utf-8", errors="replace")
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _retry_after(response: httpx.Response) -> float:
    value = response.headers.get("retry-after", "")
    if not value.isascii() or not value.isdecimal() or len(value) > 9:  # noqa: PLR2004 - int() bounded
        return 0.0
    return min(float(value), _LONGEST_RETRY_AFTER_SECONDS)
