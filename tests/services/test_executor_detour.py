"""CONNECT_TO: a job means the same in every runtime, wherever its target really is (P3)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from services.executor.detour import DetourTransport
from services.executor.fetch import Fetched, Fetcher, FetchError
from services.executor.policy.data import BrowserLimits
from services.executor.strategies import STRATEGIES
from services.executor.tools import browser

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service_protocols import Serve
    from starlette.requests import Request

ASKED = "127.0.0.1:9"  # the discard port: nobody answers there


@pytest.fixture
def target(serve: Serve) -> str:
    """A site that tells who it was taken for; `host:port`."""

    async def reply(request: Request) -> Response:
        if request.url.path == "/away":
            return RedirectResponse("/here")
        if request.url.path == "/outside":
            return RedirectResponse("http://not.allowed/")
        return Response(f"{request.headers['host']} {request.url.path}")

    app = Starlette(routes=[Route("/{path:path}", reply)])
    return serve(app).url.removeprefix("http://")


def fetch(url: str, connect_to: Mapping[str, str]) -> Fetched:
    async def run() -> Fetched:
        async with Fetcher((ASKED,), connect_to) as fetcher:
            return await fetcher.fetch(url, STRATEGIES["vanilla"])

    return asyncio.run(run())


def test_url_host_header_and_result_stay_as_they_are(target: str) -> None:
    found = fetch(f"http://{ASKED}/page", {ASKED: target})
    assert found == Fetched(f"{ASKED} /page", 200, f"http://{ASKED}/page")


def test_redirects_take_the_same_detour(target: str) -> None:
    found = fetch(f"http://{ASKED}/away", {ASKED: target})
    assert found == Fetched(f"{ASKED} /here", 200, f"http://{ASKED}/here")


def test_without_a_detour_nobody_answers(target: str) -> None:
    with pytest.raises(FetchError, match="does not answer"):
        fetch(f"http://{ASKED}/page", {"127.0.0.1:8": target})


def test_a_detour_opens_no_host(target: str) -> None:
    """Allowed is what the URL names: neither the way there nor a redirect adds to it."""
    with pytest.raises(FetchError, match="not an allowed host"):
        fetch(f"http://{target}/page", {ASKED: target})
    with pytest.raises(FetchError, match="not an allowed host"):
        fetch(f"http://{ASKED}/outside", {ASKED: target})


def test_the_browser_tool_takes_it_too(target: str) -> None:
    limits = BrowserLimits(size_limit_bytes=1000, time_out_seconds=5.0)
    url = f"http://{ASKED}/page"
    found = asyncio.run(browser.run(limits, (ASKED,), url, {ASKED: target}))
    assert (found.outcome, found.output) == ("completed", f"{ASKED} /page")


@pytest.mark.parametrize(
    ("url", "asked"),
    [("https://a.example/x", "a.example:443"), ("http://a.example", "a.example:80")],
)
def test_the_schemes_own_port_counts_and_the_certificate_stays_the_askeds(
    monkeypatch: pytest.MonkeyPatch, url: str, asked: str
) -> None:
    sent: list[httpx.Request] = []

    async def answer(_transport: object, request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)

    async def run() -> httpx.Response:
        transport = DetourTransport({asked: "b.example:99"})
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            return await client.get(url)

    response = asyncio.run(run())
    assert response.url.host == "a.example"
    assert (sent[0].url.host, sent[0].url.port) == ("b.example", 99)
    assert sent[0].headers["host"] == "a.example"
    assert sent[0].extensions["sni_hostname"] == "a.example"
