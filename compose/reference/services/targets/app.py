"""Three look-alikes with the same answer every time: no clock, no client address, no port.

Plain Starlette: this service stands for the outside world, has no tokens and no database.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

    from services.kit.settings import Settings

POSTS = 100
POSTS_PER_USER = 10
LONGEST_DELAY_SECONDS = 5.0
_WORDS = ("proof", "measure", "ledger", "sample", "store", "signal", "queue", "record", "trace")
# What a proxy or client library may add or change between two runs.
_ECHOED_HEADERS = ("accept", "accept-language", "accept-encoding", "user-agent")

_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Plain site</title>
</head>
<body>
  <h1>Plain site</h1>
  <p>This page is here to be fetched. It is the same every time.</p>
</body>
</html>
"""


def build(_settings: Settings) -> Starlette:
    """The targets site."""
    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/plain/", plain),
            Route("/http-test/get", echo_query),
            Route("/http-test/headers", echo_headers),
            Route("/http-test/status/{status}", answer_status),
            Route("/http-test/delay/{seconds:float}", delay),
            Route("/json-api/posts", list_posts),
            Route("/json-api/posts/{number}", read_post),
        ]
    )


async def healthz(_request: Request) -> Response:
    """Alive."""
    return _json({"status": "ok", "service": "targets"})


async def readyz(_request: Request) -> Response:
    """Ready as soon as alive: nothing stands behind this site."""
    return _json({"status": "ready", "checks": {}})


async def plain(_request: Request) -> Response:
    """A small page, like example.com."""
    return HTMLResponse(_PAGE)


async def echo_query(request: Request) -> Response:
    """The query's parameters, like httpbin's /get, without what differs from run to run."""
    return _json({"args": dict(request.query_params), "path": "/http-test/get"})


async def echo_headers(request: Request) -> Response:
    """The headers that a strategy chooses, like httpbin's /headers."""
    found = {name: request.headers[name] for name in _ECHOED_HEADERS if name in request.headers}
    return _json({"headers": found})


async def answer_status(request: Request) -> Response:
    """An answer with the status asked for, like httpbin's /status."""
    status = _number(request.path_params["status"])
    if not 200 <= status <= 599:  # noqa: PLR2004 - the final statuses of HTTP
        return _json({"error": "expected a status of 200 to 599"}, 400)
    if status in {204, 205, 304}:
        return Response(status_code=status)
    return _json({"status": status}, status)


async def delay(request: Request) -> Response:
    """An answer after a while, like httpbin's /delay."""
    seconds = request.path_params["seconds"]
    if seconds > LONGEST_DELAY_SECONDS:
        return _json({"error": f"expected at most {LONGEST_DELAY_SECONDS:g} seconds"}, 400)
    await asyncio.sleep(seconds)
    return _json({"delay_seconds": seconds})


async def list_posts(_request: Request) -> Response:
    """All posts, like jsonplaceholder's /posts."""
    return _json([_post(number) for number in range(1, POSTS + 1)])


async def read_post(request: Request) -> Response:
    """One post, like jsonplaceholder's /posts/1."""
    number = _number(request.path_params["number"])
    if not 1 <= number <= POSTS:
        return _json({}, 404)
    return _json(_post(number))


def _number(text: str) -> int:
    """The number of up to four digits in a path, or -1: int() of any length costs too much."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else -1  # noqa: PLR2004


def _post(number: int) -> dict[str, object]:
    words = [_WORDS[(number * step) % len(_WORDS)] for step in range(1, 13)]
    return {
        "userId": (number - 1) // POSTS_PER_USER + 1,
        "id": number,
        "title": " ".join(words[:4]),
        "body": " ".join(words) + ".",
    }


def _json(value: object, status: int = 200) -> Response:
    text = json.dumps(value, indent=2, sort_keys=True) + "\n"
    return Response(text, status, media_type="application/json")
