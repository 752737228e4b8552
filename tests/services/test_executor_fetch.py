"""Fetching politely: allow-listed hosts, checked redirects, bounded size and time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from services.executor.fetch import Fetcher, FetchError
from services.executor.hosts import HostRefusedError, check_url
from services.executor.strategies import STRATEGIES
from services.targets import app as targets

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from service_protocols import Serve, SettingsFor

ALLOWED = ("good.example", "good.example:8080", "127.0.0.1:7060")


@pytest.mark.parametrize(
    "url",
    [
        "http://good.example/",
        "https://GOOD.example/x?y#z",
        "http://good.example:8080/",
        "http://127.0.0.1:7060/",
    ],
)
def test_an_allowed_host_passes(url: str) -> None:
    check_url(url, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "http://good.example:81/",
        "http://good.example.evil/",
        "http://evil/good.example",
        "http://good.example@evil/",
        "http://user:word@good.example/",
        "http://evil\\@good.example/",
        "http://good.example\n.evil/",
        "http://127.0.0.1/",
        "http://0x7f000001:7060/",
        "ftp://good.example/",
        "file:///etc/passwd",
        "//good.example/",
        "http://[::1/",
        "http://good.example:99999/",
        "http:///x",
        "",
        "http://good.example/" + "x" * 2048,
    ],
)
def test_any_other_url_is_refused(url: str) -> None:
    with pytest.raises(HostRefusedError):
        check_url(url, ALLOWED)


Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def site(serve: Serve) -> Callable[[Callable[[str], Answer]], str]:
    """Serves answers that no well-behaved site gives."""

    def start(answer: Callable[[str], Answer]) -> str:
        from starlette.applications import Starlette
        from starlette.responses import Response
        from starlette.routing import Route

        async def reply(request: Any) -> Response:
            status, headers, body = answer(request.url.path)
            return Response(body, status, headers)

        return serve(Starlette(routes=[Route("/{path:path}", reply)])).url

    return start


def fetch(url: str, strategy: str = "vanilla") -> Coroutine[Any, Any, Any]:
    async def run() -> Any:
        async with Fetcher((url.removeprefix("http://").partition("/")[0],)) as fetcher:
            return await fetcher.fetch(url, STRATEGIES[strategy])

    return run()


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), "not an allowed host"),
        ((302, {"Location": "file:///etc/passwd"}, b""), "expected an http or https URL"),
        ((302, {"Location": "/again"}, b""), "at most 5 redirects"),
        ((302, {}, b""), "expected a 2xx answer, got 302"),
        ((200, {}, b"x" * 1_048_577), "at most 1048576 bytes"),
        ((200, {"Content-Encoding": "gzip"}, b"x"), "without compression"),
    ],
)
def test_an_answer_that_breaks_the_rules_is_refused(
    site: Callable[[Callable[[str], Answer]], str], answer: Answer, wanted: str
) -> None:
    with pytest.raises(FetchError, match=wanted):
        asyncio.run(fetch(site(lambda _path: answer)))


def test_a_passing_failure_is_tried_again_with_other_headers(
    site: Callable[[Callable[[str], Answer]], str],
) -> None:
    statuses = iter([503, 429, 200])
    url = site(lambda _path: (next(statuses), {"Retry-After": "0"}, b"at last"))
    assert asyncio.run(fetch(url, "assault")).content == "at last"


def test_content_is_text_that_any_store_takes(
    site: Callable[[Callable[[str], Answer]], str],
) -> None:
    url = site(lambda _path: (200, {"Content-Type": "text/plain; charset=utf-8"}, b"a\x00\xff"))
    assert asyncio.run(fetch(url)).content == "a\ufffd\ufffd"


def test_a_fetch_over_its_budget_fails(settings_for: SettingsFor, serve: Serve) -> None:
    url = serve(targets.build(settings_for("targets"))).url
    hurried = replace(STRATEGIES["vanilla"], budget_seconds=0.05)

    async def run() -> None:
        async with Fetcher((url.removeprefix("http://"),)) as fetcher:
            await fetcher.fetch(f"{url}/http-test/delay/5", hurried)

    with pytest.raises(FetchError, match=r"no answer within the 0\.05 s"):
        asyncio.run(run())
