"""A small system to soak: `python soak_service.py PORT`; FAULT breaks it FAULT_AFTER seconds
after its first request.

Faults: errors (every tenth answer to /action is a 500), burst (every answer for two
seconds), stuck_session (one that is destroyed stays), thread_deadlock and async_deadlock
(no /action is ever answered again, health still says 200), crash (ends), stall (answers
nothing for two seconds), drip (an answer that never ends), leak (keeps 1 MiB a request).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

FAULT, AFTER = os.environ.get("FAULT", ""), float(os.environ.get("FAULT_AFTER", "2"))
FAULT_SECONDS = 2.0
LEAK_BYTES = 1 << 20


class System:
    """State and faults; one for the process."""

    def __init__(self) -> None:
        self.first: float | None = None
        self.requests = 0
        self.sessions: dict[str, bool] = {}
        self.kept: list[bytearray] = []
        self.pool = ThreadPoolExecutor(64)
        self.locks = (threading.Lock(), threading.Lock())
        self.async_lock = asyncio.Lock()

    def is_on(self, fault: str, seconds: float = float("inf")) -> bool:
        """Whether a fault is due."""
        now = time.monotonic()
        self.first = self.first or now
        return fault == FAULT and AFTER <= now - self.first < AFTER + seconds

    def deadlock(self) -> None:
        """Two threads that take two locks in two orders, and whoever comes after them."""
        one, two = self.locks

        def take(first: threading.Lock, second: threading.Lock) -> None:
            with first:
                time.sleep(0.05)
                with second:
                    pass

        other = threading.Thread(target=take, args=(two, one), daemon=True)
        other.start()
        take(one, two)

    async def action(self) -> tuple[int, dict[str, object]]:
        """The answer to POST /action."""
        self.requests += 1
        if self.is_on("crash"):
            print("planted: the service ends", flush=True)
            os._exit(7)
        if self.is_on("thread_deadlock"):
            await asyncio.get_running_loop().run_in_executor(self.pool, self.deadlock)
        if self.is_on("async_deadlock"):
            await self.async_lock.acquire()
        if self.is_on("leak"):
            self.kept.append(bytearray(os.urandom(LEAK_BYTES)))
        if self.is_on("burst", FAULT_SECONDS) or (self.is_on("errors") and self.requests % 10 == 0):
            return 500, {"error": "planted failure"}
        return 200, {"outcome": "completed"}

    def session(self, method: str, name: str) -> tuple[int, dict[str, object]]:
        """The answer to anything below /sessions."""
        if method == "POST" and not name:
            name = str(len(self.sessions))
            self.sessions[name] = True
            return 201, {"id": name, "state": "active"}
        if method == "DELETE":
            self.sessions[name] = self.is_on("stuck_session")
            return 200, {"state": "destroyed"}
        return (200, {"state": "active"}) if self.sessions.get(name) else (404, {})


SYSTEM: System


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request over one connection."""
    try:
        method, path, _ = (await reader.readline()).decode().split()
        length = 0
        while (line := (await reader.readline()).strip()) != b"":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        await reader.readexactly(length)
        await answer(method, path, writer)
        await writer.drain()
    except (OSError, ValueError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def answer(method: str, path: str, writer: asyncio.StreamWriter) -> None:
    """Health, a stream, an action, sessions."""
    if path in {"/healthz", "/readyz"}:
        send(writer, 200, {"service": "front"})
        return
    if SYSTEM.is_on("stall", FAULT_SECONDS):
        assert SYSTEM.first is not None
        await asyncio.sleep(SYSTEM.first + AFTER + FAULT_SECONDS - time.monotonic())
    if path == "/chat":
        await stream(writer)
    elif path == "/action":
        send(writer, *await SYSTEM.action())
    elif path.startswith("/sessions"):
        send(writer, *SYSTEM.session(method, path.removeprefix("/sessions").strip("/")))
    else:
        send(writer, 404, {})


async def stream(writer: asyncio.StreamWriter) -> None:
    """Tokens, one after the other."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
    for _ in range(3):
        writer.write(b"event: token\ndata: word\n\n")
        await writer.drain()
        await asyncio.sleep(0.002)
    while SYSTEM.is_on("drip"):
        writer.write(b": wait\n\n")
        await writer.drain()
        await asyncio.sleep(0.1)
    writer.write(b"event: done\ndata: {}\n\n")


def send(writer: asyncio.StreamWriter, status: int, value: dict[str, object]) -> None:
    """A JSON answer."""
    data = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode() + data)


async def main() -> None:
    """Serve until SIGTERM."""
    global SYSTEM  # noqa: PLW0603 - one process, one system; its lock belongs to this loop
    SYSTEM = System()
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]), backlog=512)
    print("front serves", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    asyncio.run(main())
