"""A fake system for the load generator: `python server.py [STALL_AFTER_SECONDS]`.

Prints its port. With an argument it stops for two seconds, once, so many seconds after
its first request; `/number/N` is noted with the time of its answer (on the generator's
clock), and `/answered` tells. Raw sockets, because its faults are none that a web
framework would make.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

STALL_SECONDS = 2.0
STALL_AFTER = float(sys.argv[1]) if len(sys.argv) > 1 else None
HEAD = "HTTP/1.1 {} X\r\nContent-Type: application/json\r\nConnection: close\r\n"
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
SESSIONS: dict[str, str] = {}
ANSWERED: dict[str, float] = {}


async def say(writer: asyncio.StreamWriter, *parts: str, gap: float = 0.0) -> None:
    """Send some texts, with a pause between them."""
    for index, part in enumerate(parts):
        if index and gap:
            await asyncio.sleep(gap)
        writer.write(part.encode())
        await writer.drain()


async def answer(writer: asyncio.StreamWriter, status: int, value: object) -> None:
    """One whole JSON answer."""
    body = json.dumps(value)
    await say(writer, HEAD.format(status) + f"Content-Length: {len(body)}\r\n\r\n{body}")


async def session(writer: asyncio.StreamWriter, method: str, path: str) -> None:
    """Sessions with ids that have to be quoted; `stuck` ones can't be destroyed."""
    _, _, name, *rest = path.split("/")
    if not rest:
        identity = f"{name} {len(SESSIONS)}/x"
        SESSIONS[identity] = "active"
        await answer(writer, 201, {} if name == "nameless" else {"id": identity})
        return
    identity = rest[0].replace("%20", " ").replace("%2F", "/")
    if method == "DELETE" and name != "stuck":
        SESSIONS[identity] = "destroyed"
    known = SESSIONS.get(identity)
    if known is None or (name == "weak" and len(rest) > 1 and known == "active"):
        await answer(writer, 404, {"state": None})
    else:
        await answer(writer, 409 if known == "destroyed" and len(rest) > 1 else 200, {"s": known})


async def misbehave(writer: asyncio.StreamWriter, path: str) -> None:
    """One fault for each path."""
    stream = HEAD.format(200) + "\r\n"
    if path == "/slow":
        await asyncio.sleep(30)
    elif path == "/stream":
        await say(writer, stream, "event: token\n", "event: done\n", gap=0.15)
    elif path == "/split":
        await say(writer, stream, ": hello\neve", "nt: token\nevent: done\n", gap=0.05)
    elif path == "/drip":
        await say(writer, stream, *"0123456789" * 100, gap=0.02)
    elif path == "/cut":
        await say(writer, HEAD.format(200) + "Content-Length: 100\r\n\r\n", "event: token\n")
    elif path == "/no-done":
        await say(writer, stream, "event: token\n")
    elif path == "/huge":
        await say(writer, stream, *["x" * (1 << 20)] * 5)
    elif path == "/nonsense":
        await say(writer, "nonsense\r\n\r\n")
    elif path == "/redirect":
        await say(writer, HEAD.format(302) + "Location: /ok\r\nContent-Length: 0\r\n\r\n")


class Server:
    """Reads requests, one a connection."""

    stalled_at: float | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            lines = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
            body = await reader.readexactly(int(lines.get("content-length", 0)))
            self.stall()
            if path.startswith("/session/"):
                await session(writer, method, path)
            elif path.startswith("/number/"):
                await answer(writer, 200, {})
                ANSWERED[path.removeprefix("/number/")] = time.clock_gettime(CLOCK)
            elif path == "/answered":
                await answer(writer, 200, ANSWERED)
            elif path == "/ok":
                await answer(writer, 200, {"ok": True})
            elif path == "/echo":
                await answer(writer, 200, {"head": head, "body": json.loads(body or b"null")})
            elif path == "/broken":
                await answer(writer, 503, {"error": "planted"})
            else:
                await misbehave(writer, path)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def stall(self) -> None:
        """Do nothing at all for a while: not even accept."""
        now = time.clock_gettime(CLOCK)
        if STALL_AFTER is None or self.stalled_at == 0:
            return
        if self.stalled_at is None:
            self.stalled_at = now + STALL_AFTER
        elif now >= self.stalled_at:
            self.stalled_at = 0
            time.sleep(STALL_SECONDS)


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.start_server(Server().serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
