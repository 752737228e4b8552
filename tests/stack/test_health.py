"""stack.health: only a whole 200 within the limit is healthy."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from stack.health import probe

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Answerer:
    """Accepts connections and sends each a list of byte strings, one every 0.2 s."""

    def __init__(self, *parts: bytes) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/healthz"
        self._parts, self._over = parts, threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                for part in self._parts:
                    try:
                        connection.sendall(part)
                    except OSError:
                        break
                    self._over.wait(0.2 if len(self._parts) > 1 else 0)

    def close(self) -> None:
        self._over.set()
        self._socket.close()


@pytest.fixture
def answerer() -> Iterator[list[Answerer]]:
    made: list[Answerer] = []
    yield made
    for item in made:
        item.close()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (GOOD, 200),
        (GOOD.replace(b"200 OK", b"503 Unavailable"), 503),
        (GOOD.replace(b"200 OK", b"204 No Content"), 204),
        (b"nonsense\r\n\r\n", None),
        (b"", None),
    ],
)
def test_only_200_is_healthy(answerer: list[Answerer], answer: bytes, status: int | None) -> None:
    server = Answerer(answer)
    answerer.append(server)
    seen = probe(server.url)
    assert seen.status == status
    assert seen.healthy == (status == 200)


def test_an_answer_that_drips_is_cut_off(answerer: list[Answerer]) -> None:
    """The limit is for the whole answer, not for each byte of it."""
    server = Answerer(*(bytes([byte]) for byte in GOOD))
    answerer.append(server)
    begun = time.monotonic()
    seen = probe(server.url, 0.5)
    assert not seen.healthy
    assert time.monotonic() - begun < len(GOOD) * 0.2


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://a..b/", "http://127.0.0.1:0/"])
def test_no_answer_is_an_error_and_no_exception(url: str) -> None:
    seen = probe(url, 1)
    assert seen.status is None
    assert seen.error
