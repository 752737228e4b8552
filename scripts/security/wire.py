"""HTTP/1.1 over a socket: what is written goes out as it stands.

HTTP clients tidy up: they resolve `..`, decode `%2e`, refuse NUL and count the body. An
attacker does not, so neither does this.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LONGEST_SECONDS = 20.0
LARGEST_BYTES = 16 * 1024 * 1024
_BLOCK = 1 << 16
_QUIET_SECONDS = 0.4
_INFORMATIONAL = range(100, 200)
_NO_BODY = frozenset({204, 304})


@dataclass(frozen=True)
class Answer:
    """One answer; `status` is None where the bytes are no HTTP."""

    status: int | None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def text(self) -> str:
        """Headers and body, for a search."""
        lines = "".join(f"{key}: {value}\n" for key, value in self.headers)
        return lines + self.body.decode("utf-8", "replace")


@dataclass(frozen=True)
class Exchange:
    """All that came back over one connection."""

    answers: tuple[Answer, ...] = ()
    seconds: float = 0.0
    error: str | None = None
    rest: bytes = field(default=b"", repr=False)

    @property
    def status(self) -> int | None:
        """The status of the first answer; None where the connection was closed without one."""
        return self.answers[0].status if self.answers else None

    @property
    def text(self) -> str:
        """Everything that came back, for a search."""
        return "\n".join(answer.text for answer in self.answers) + self.rest.decode(
            "utf-8", "replace"
        )


@dataclass(frozen=True)
class Hold:
    """Keep so many bytes back for so long."""

    last_bytes: int
    seconds: float


def exchange(
    url: str, data: bytes, hold: Hold | None = None, timeout_seconds: float = LONGEST_SECONDS
) -> Exchange:
    """Send bytes over a fresh connection and read whatever comes back until it is over.

    Args:
        url: whose host and port are connected to; nothing else of it is used.
        data: sent as it stands.
        hold: a pause within.
        timeout_seconds: limit for all of it.
    """
    parts = urlsplit(url)
    begun = time.monotonic()
    deadline = begun + timeout_seconds
    received = b""
    error = None
    try:
        address = (parts.hostname or "", parts.port or 80)
        with socket.create_connection(address, timeout=timeout_seconds) as connection:
            connection.setblocking(False)  # noqa: FBT003 - its only form
            received, error = _talk(connection, data, hold, deadline)
    except OSError as problem:
        error = problem.strerror or str(problem)
    answers, rest = parse(received)
    return Exchange(answers, time.monotonic() - begun, error, rest)


def _talk(
    connection: socket.socket, data: bytes, hold: Hold | None, deadline: float
) -> tuple[bytes, str | None]:
    """Write and read side by side: a server may answer, and close, before it has read all."""
    line = _Line(connection, data, hold)
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            selector.modify(connection, line.events())
            ready = selector.select(min(0.05, max(0.0, deadline - time.monotonic())))
            for _, events in ready:
                if events & selectors.EVENT_READ and not line.read():
                    return line.received, line.error
                if events & selectors.EVENT_WRITE:
                    line.write()
            if line.is_quiet():
                return line.received, None
    return line.received, "no end of the answer in time"


class _Line:
    """One connection's progress."""

    def __init__(self, connection: socket.socket, data: bytes, hold: Hold | None) -> None:
        self._connection, self._left, self._hold = connection, memoryview(data), hold
        self._resume = 0.0
        self._last = time.monotonic()
        self.received = b""
        self.error: str | None = None
        self._blocks: list[bytes] = []

    def events(self) -> int:
        waits = time.monotonic() < self._resume
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._left and not waits else 0)

    def read(self) -> bool:
        """Whether there may be more."""
        try:
            block = self._connection.recv(_BLOCK)
        except BlockingIOError:
            return True
        except OSError as problem:
            self.error = problem.strerror or str(problem)
            return False
        self._last = time.monotonic()
        self.received += block
        return bool(block) and len(self.received) < LARGEST_BYTES

    def write(self) -> None:
        size = len(self._left) - (self._hold.last_bytes if self._hold else 0)
        try:
            sent = self._connection.send(self._left[: max(1, min(size, _BLOCK))])
        except BlockingIOError:
            return
        except OSError:
            self._left = self._left[:0]  # it has closed: what it said can still be read
            return
        self._left = self._left[sent:]
        self._last = time.monotonic()
        if self._hold and len(self._left) <= self._hold.last_bytes:
            self._resume, self._hold = time.monotonic() + self._hold.seconds, None

    def is_quiet(self) -> bool:
        """All is sent, whole answers are here, and no more comes: a kept-open connection."""
        if self._left or not self.received or time.monotonic() - self._last < _QUIET_SECONDS:
            return False
        answers, rest = parse(self.received)
        return bool(answers) and not rest


def parse(data: bytes) -> tuple[tuple[Answer, ...], bytes]:
    """The whole answers in what was received, and the bytes behind them."""
    found: list[Answer] = []
    while data:
        head, gap, rest = data.partition(b"\r\n\r\n")
        answer = _head(head)
        if not gap or answer.status is None:
            break
        if answer.status in _INFORMATIONAL:
            data = rest
            continue
        body, left = _body(answer, rest)
        if body is None:
            break
        found.append(Answer(answer.status, answer.headers, body))
        data = left
    if data and not found:
        return (_head(data.partition(b"\r\n\r\n")[0]),), data
    return tuple(found), data


def _head(head: bytes) -> Answer:
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal():  # noqa: PLR2004
        return Answer(None)
    pairs = (line.partition(":") for line in lines[1:])
    return Answer(int(words[1]), tuple((name.strip(), value.strip()) for name, _, value in pairs))


def _body(answer: Answer, rest: bytes) -> tuple[bytes | None, bytes]:
    """The body and what follows it; None while it is not whole."""
    if answer.status in _NO_BODY:
        return b"", rest
    if "chunked" in (answer.header("Transfer-Encoding") or "").lower():
        return _chunks(rest)
    length = answer.header("Content-Length")
    if length is None:
        return rest, b""
    with contextlib.suppress(ValueError):
        size = int(length)
        return (rest[:size], rest[size:]) if len(rest) >= size else (None, rest)
    return rest, b""


def _chunks(rest: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while True:
        line, gap, after = rest.partition(b"\r\n")
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            return None, rest
        if not gap or len(after) < size + 2:
            return None, rest
        if size == 0:
            return body, after[2:]
        body, rest = body + after[:size], after[size + 2 :]
