"""A small service with controls: `python attacked_service.py PORT STATE [CONTROL]`.

Without CONTROL all of them are on; with one, that one is off:
token, paths, programs, environment, hosts, logs, errors, sizes, headers, once, sessions,
health, answers, framing, neighbours. The variable FAULT makes it wrong in other ways: broken
(the good requests fail as well), failing (500 for everything refused), undocumented, telling
(a token in its errors), noting (a token in its log), log-gone (it removes its log), late-log (it
says what was refused when it ends).
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import string
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORT, STATE = int(sys.argv[1]), Path(sys.argv[2])
OFF = sys.argv[3] if len(sys.argv) > 3 else os.environ.get("OFF", "")
FAULT = os.environ.get("FAULT", "")
FILES = STATE / "files"
JOBS: dict[str, str] = {}
SESSIONS: dict[str, str] = {}
LATE: list[str] = []
ONE = threading.Lock()
TOLD = "ghp_" + "".join(random.Random(7).choices(string.ascii_letters, k=36))  # noqa: S311
PLAIN = re.compile(r"[a-z0-9.-]*[a-z0-9]")


class RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def place(name: str) -> Path:
    """Where a file is; only plain names are, unless that control is off."""
    if OFF != "paths" and not PLAIN.fullmatch(name):
        raise RefusedError(403, "no such name")
    return FILES / name


def read(body: dict[str, Any]) -> object:
    """A file."""
    if body["path"] == "crash" and OFF == "health":
        os._exit(9)
    path = place(body["path"])
    if not path.is_file():
        raise RefusedError(404, "no such file")
    return {"content": path.read_text() * (1000 if OFF == "sizes" else 1)}


def write(body: dict[str, Any]) -> object:
    """Write a file."""
    place(body["path"]).write_text(body["content"])
    return {"written": True}


def run(body: dict[str, Any]) -> object:
    """Run a program of the list: echo."""
    argv = body["argv"]
    if argv[0] != "echo" and OFF != "programs":
        raise RefusedError(403, "not listed")
    # The shell keeps the arguments in the table of processes for a moment.
    slow = ["/bin/sh", "-c", 'sleep 0.1; exec "$@"', "sh", *argv]
    kept = dict(os.environ) if OFF == "environment" else {}
    done = subprocess.run(slow, env=kept, capture_output=True, text=True, check=False)
    return {"output": done.stdout}


def fetch(body: dict[str, Any]) -> object:
    """Fetch from the list: ourselves."""
    if body["url"] != f"http://127.0.0.1:{PORT}/healthz" and OFF != "hosts":
        raise RefusedError(403, "not listed")
    with urllib.request.urlopen(body["url"], timeout=5) as answer:  # noqa: S310
        return {"page": answer.read().decode()}


def submit(body: dict[str, Any]) -> object:
    """A job: the same key is the same job."""
    with ONE:
        if OFF == "once":
            return {"id": f"job-{time.monotonic_ns()}"}
        return {"id": JOBS.setdefault(body["key"], f"job-{len(JOBS)}")}


def end(body: dict[str, Any]) -> object:
    """End a session, if it is one's own."""
    if body.get("owner") != "me" and OFF != "sessions":
        raise RefusedError(403, "not yours")
    SESSIONS[body["id"]] = "ended"
    return {"id": body["id"]}


def state(body: dict[str, Any]) -> object:
    """How a session is."""
    return {"state": SESSIONS.get(body["id"], "active")}


def hold(body: dict[str, Any]) -> object:
    """Take a while; while that control is off, nobody else gets an answer."""
    with ONE:
        time.sleep(0 if body["seconds"] > 5 or OFF != "neighbours" else body["seconds"])
    return {"held": True}


OPERATIONS = {
    "/read": read,
    "/write": write,
    "/run": run,
    "/fetch": fetch,
    "/jobs": submit,
    "/end": end,
    "/state": state,
    "/hold": hold,
}
DOCUMENT = json.loads(Path(__file__).with_name("attacked_openapi.json").read_text("utf-8"))


class Handler(BaseHTTPRequestHandler):
    """Health, a document, and the operations."""

    protocol_version = "HTTP/1.1"

    def version_string(self) -> str:
        """What the Server header says."""
        return "attacked/1.2.3" if OFF == "headers" else ""

    def answer(self, status: int, value: object) -> None:
        """Send JSON."""
        data = json.dumps(value).encode()
        self.send_response_only(status)
        if OFF == "headers":
            self.send_header("Server", self.version_string())
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        """Health and the document."""
        if self.path == "/openapi.json" and FAULT != "undocumented":
            self.answer(200, DOCUMENT)
        else:
            known = self.path in {"/healthz", "/readyz"}
            self.answer(200 if known else 404, {})

    def do_POST(self) -> None:
        """An operation."""
        length = self.headers.get_all("Content-Length", ["0"])
        if len(length) != 1 and OFF != "framing":
            self.close_connection = True
            self.answer(400, {"error": "two lengths"})
            return
        raw = self.rfile.read(int(length[0]))
        try:
            self.answer(200, self.work(raw))
        except RefusedError as problem:
            error = str(problem)
            if OFF == "errors":
                error = f'Traceback (most recent call last):\n  File "{__file__}", line 1\n{error}'
            if FAULT == "telling":
                error += f" token={TOLD}"
            self.answer(500 if FAULT == "failing" else problem.status, {"error": error})
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            self.answer(500 if FAULT == "failing" else 422, {"error": "not valid"})

    def work(self, raw: bytes) -> object:
        """Check who asks, and do it."""
        known = f"Bearer {os.environ['KEY']}"
        if FAULT == "noting":
            print(f"token={TOLD}", flush=True)
        if OFF == "logs":
            print(self.headers.get("Authorization"), raw.decode("utf-8", "replace"), flush=True)
        if OFF != "token" and self.headers.get("Authorization") != known:
            raise RefusedError(401, "who are you")
        LATE.append(raw.decode("utf-8", "replace"))
        if FAULT == "broken":
            raise RefusedError(403, "everything is refused")
        return OPERATIONS[self.path](json.loads(raw))

    def log_message(self, *_: object) -> None:
        """No access log."""


def main() -> None:
    """Serve until killed."""
    FILES.mkdir(exist_ok=True)
    (STATE / "outside").mkdir(exist_ok=True)
    print("started", flush=True)
    if FAULT == "log-gone":
        (STATE / "logs/front.log").unlink()
    if FAULT == "late-log":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(print(*LATE, flush=True)))
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()


if __name__ == "__main__":
    main()
