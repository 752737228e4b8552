"""What a fetch keeps and what it heeds: no cookies, Retry-After within reason, known charsets."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from services.executor import fetch as fetch_module
from services.executor.fetch import Fetched, Fetcher, FetchError
from services.executor.strategies import STRATEGIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from service_protocols import Serve
    from starlette.requests import Request


def site(serve: Serve, answer: Callable[[Request], Response]) -> str:
    async def reply(request: Request) -> Response:
        return answer(request)

    return serve(Starlette(routes=[Route("/{path:path}", reply)])).url


def fetch(*urls: str, strategy: str = "vanilla") -> list[Fetched]:
    """Fetch one after the other through one fetcher, as the worker does for its jobs."""

    async def run() -> list[Fetched]:
        hosts = tuple(url.removeprefix("http://").partition("/")[0] for url in urls)
        async with Fetcher(hosts) as fetcher:
            return [await fetcher.fetch(url, STRATEGIES[strategy]) for url in urls]

    return asyncio.run(run())


def test_no_cookie_goes_from_one_job_to_the_next(serve: Serve) -> None:
    seen: list[str | None] = []

    def answer(request: Request) -> Response:
        seen.append(request.headers.get("cookie"))
        return Response("x", headers={"Set-Cookie": "job=first; Path=/"})

    url = site(serve, answer)
    fetch(f"{url}/a", f"{url}/b")
    assert seen == [None, None]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("3", 3.0), ("3600", 5.0), ("9" * 400, 0.2), ("soon", 0.2), ("-3", 0.2), ("0", 0.2)],
)
def test_retry_after_is_heeded_up_to_a_bound(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, value: str, wanted: float
) -> None:
    """Strategy stealth pauses 0.2 s by itself; no site may hold a job for an hour."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    hurried: Any = SimpleNamespace(sleep=sleep, timeout=asyncio.timeout)
    monkeypatch.setattr(fetch_module, "asyncio", hurried)
    url = site(serve, lambda _request: Response(status_code=503, headers={"Retry-After": value}))
    with pytest.raises(FetchError, match="after 3 attempts"):
        fetch(url, strategy="stealth")
    assert slept == [STRATEGIES["stealth"].pacing_seconds, wanted, max(wanted, 0.4)]


@pytest.mark.parametrize(
    ("charset", "body", "wanted"),
    [
        ("iso-8859-1", b"caf\xe9", "café"),
        ("windows-1252", b"caf\xe9 \x80", "café €"),
        ("utf-16", "café".encode("utf-16"), "café"),
        ("utf-8", "café".encode(), "café"),
        ("no-such", "café".encode(), "café"),
        ("punycode", b"caf-dma", "caf-dma"),
        ("idna", b"xn--caf-dma", "xn--caf-dma"),
        ("utf-7", b"+AOk-", "+AOk-"),
        ("rot13", b"pnsr", "pnsr"),
        ("hex", b"6361", "6361"),
        ("unicode_escape", b"\\u00e9", "\\u00e9"),
    ],
)
def test_only_known_charsets_are_decoded(
    serve: Serve, charset: str, body: bytes, wanted: str
) -> None:
    """Any other is read as UTF-8: some of Python's take quadratic time, or aren't text at all."""
    headers = {"Content-Type": f"text/plain; charset={charset}"}
    (fetched,) = fetch(site(serve, lambda _request: Response(body, headers=headers)))
    assert fetched.content == wanted
