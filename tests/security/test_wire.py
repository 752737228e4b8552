"""scripts/security/wire.py and sending.py: what is written goes out as it stands."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from security.model import Control, Security
from security.places import NotHadError
from security.sending import Speaker, chunks, encode
from security.wire import Hold, exchange, parse
from stack.model import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Stack:
    """As much of a stack as a speaker asks for."""

    def __init__(self, url: str) -> None:
        self._url = url

    def service(self, name: str) -> Service:
        """Every service is at the one URL."""
        return Service(name, self._url)


@contextmanager
def listening(*parts: bytes, linger: float = 0.0) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers one connection with these parts, and what it received."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(1)
                try:
                    while block := connection.recv(65536):
                        received.append(block)
                        if b"\r\n\r\n" in b"".join(received):
                            break
                except TimeoutError:
                    pass
                for part in parts:
                    connection.sendall(part)
                    time.sleep(0.01)
                time.sleep(linger)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", received
        thread.join(5)


def speaker(url: str, **more: Any) -> Speaker:
    security = Security(
        (), {"nobody": {}, "client": {"A": "{secret:KEY}"}}, (Control("a", "b", ()),)
    )
    tokens = more.pop("tokens", None)
    security = Security(security.corpora, security.identities, security.controls, tokens)
    return Speaker(Stack(url), security, {"KEY": "hidden"}, more.get("forger"))  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/../etc/passwd", "/%2e%2e/x", "/a b", "//x", "/\udcff"])
def test_a_path_goes_out_as_it_is_written(path: str) -> None:
    with listening(OK) as (url, received):
        request = {"service": "a", "path": path, "as": "client"}
        assert speaker(url).ready(request, {}).send().status == 200
    line = b"".join(received).split(b"\r\n")[0]
    assert line == b"GET " + encode(path) + b" HTTP/1.1"
    assert b"\r\nA: hidden\r\n" in b"".join(received)


def test_headers_may_stand_twice_lie_and_be_taken_away() -> None:
    request = {
        "service": "a",
        "method": "POST",
        "text": "abc",
        "headers": {"Content-Length": ["1", "9"], "Host": "evil", "X": "a\0b"},
    }
    data = speaker("http://127.0.0.1:1").ready(request, {}).data
    assert data.count(b"Content-Length") == 2
    assert b"Host: evil" in data
    assert b"127.0.0.1" not in data
    assert b"X: a\0b" in data
    assert data.endswith(b"\r\n\r\nabc")


def test_a_whole_request_is_sent_without_a_byte_of_ours() -> None:
    request = {"service": "a", "raw": "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"}
    data = speaker("http://127.0.0.1:1").ready(request, {}).data
    assert data == b"GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n"


def test_a_payload_keeps_its_type_and_is_filled() -> None:
    request = {"service": "a", "method": "POST", "body": {"argv": "{payload}"}}
    values = {"payload": ["echo", "x"]}
    data = speaker("http://127.0.0.1:1").ready(request, values).data
    assert data.endswith(b'{"argv": ["echo", "x"]}')


def test_a_token_that_can_not_be_had_is_said() -> None:
    request = {"service": "a", "token": {"caller": "b"}}
    with pytest.raises(NotHadError, match="no security"):
        speaker("http://127.0.0.1:1").ready(request, {})


def test_a_body_in_chunks_is_whole_again() -> None:
    assert chunks(b"abc") == b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
    answers, rest = parse(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(b"abc") + b"left"
    )
    # What follows a last chunk and is no answer is not lost.
    assert (answers[0].body, rest) == (b"abc", b"left")


def test_two_answers_on_one_connection_are_two() -> None:
    with listening(OK + OK, linger=0.6) as (url, _):
        found = exchange(url, b"GET / HTTP/1.1\r\n\r\n")
    assert [answer.body for answer in found.answers] == [b"ok", b"ok"]


def test_an_interim_answer_is_none() -> None:
    answers, _ = parse(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    assert [answer.status for answer in answers] == [200]


def test_an_answer_before_the_request_has_ended_is_read() -> None:
    refused = b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with listening(refused) as (url, _):
        found = exchange(url, b"POST / HTTP/1.1\r\n\r\n" + bytes(30_000_000), timeout_seconds=10)
    assert found.status in {413, None}


def test_the_last_bytes_are_held_back() -> None:
    begun = time.monotonic()
    with listening(OK) as (url, received):
        found = exchange(url, b"GET / HTTP/1.1\r\n\r\n", Hold(2, 0.3))
    assert found.status == 200
    assert time.monotonic() - begun > 0.25
    assert b"".join(received) == b"GET / HTTP/1.1\r\n\r\n"


def test_nothing_and_nonsense_are_no_answers() -> None:
    with listening() as (url, _):
        assert exchange(url, b"GET / HTTP/1.1\r\n\r\n").status is None
    with listening(b"hello\r\n\r\n") as (url, _):
        found = exchange(url, b"GET / HTTP/1.1\r\n\r\n")
    assert found.status is None
    assert "hello" in found.text
    assert exchange("http://127.0.0.1:1", b"x").error


def test_an_answer_that_never_ends_is_cut_off() -> None:
    with listening(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", linger=1) as (url, _):
        found = exchange(url, b"GET / HTTP/1.1\r\n\r\n", timeout_seconds=0.4)
    assert found.error == "no end of the answer in time"
