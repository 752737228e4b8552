"""One fake service: `python service.py NAME PORT STATE`; the variable FAULT breaks it.

Faults: exit (ends at once), slow_health (never healthy), sicken (healthy only during the
start), ignore_sigterm, orphan (leaves a child in a session of its own), double_fork
(leaves a grandchild that nobody knows), hidden (the same with an empty environment),
refuse (accepts no job), fail_jobs (two of three fail), stuck (jobs never end),
lose_results (completed, not stored), wrong_results (stored content differs), duplicate
(stores each result twice), same_id (one id for every job), forget (a job is gone when it
is asked for again), wrong_memory (another digest than the store's), helper (starts a
short program that ends by itself), leak (writes a private key into its log), eat (takes
all the memory it can get), crash_once (ends with 7 when there is work, the first time),
wait_for_crash (takes work only after that), zombie (never waits for a child that ended),
keep_port (leaves a process that goes on holding its port), flicker:N (its Nth health check
fails, no other), temporary_file and shared_memory (leave one), crash_later (ends with 9 at
the fifth health check).
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME, PORT, STATE = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
FAULT = os.environ.get("FAULT", "")
JOBS: dict[str, dict[str, object]] = {}
PROBES: list[str] = []
HELD: list[mmap.mmap] = []
LATER = 5
SICK_AFTER = 2  # one health and one readiness poll of the start
LOCK = threading.Lock()


def store(job_id: str, content: str) -> None:
    """Write one result row, or what the fault makes of it."""
    if FAULT == "lose_results":
        return
    if FAULT == "wrong_results":
        content += "tampered"
    with sqlite3.connect(STATE / "results.db") as database:
        database.execute("CREATE TABLE IF NOT EXISTS results (job_id TEXT, content TEXT)")
        for _ in range(2 if FAULT == "duplicate" else 1):
            database.execute("INSERT INTO results VALUES (?, ?)", (job_id, content))


def make_job(key: str) -> dict[str, object]:
    """Run a job at once; the same key gives the same job."""
    with LOCK:
        if key in JOBS:
            return JOBS[key]
        number = len(JOBS)
        content = f"result {number}"
        name = "job-0" if FAULT == "same_id" else f"job-{number}"
        job: dict[str, object] = {"id": name, "status": "completed"}
        if FAULT == "stuck":
            job["status"] = "running"
        elif FAULT == "fail_jobs" and number % 3:
            job |= {"status": "failed", "error": "planted failure"}
        else:
            store(str(job["id"]), content)
            job["result"] = {"sha256": hashlib.sha256(content.encode()).hexdigest()}
        JOBS[key] = job
        return job


def crash_once() -> None:
    """End when the other service has work, but only the first time."""
    while not (STATE / "work").exists():
        time.sleep(0.02)
    if not (STATE / "crashed").exists():
        (STATE / "crashed").touch()
        os._exit(7)


def wait_for_crash() -> None:
    """Let the other service end, and the engine see it."""
    (STATE / "work").touch()
    while not (STATE / "crashed").exists():
        time.sleep(0.02)
    time.sleep(1)


def remembered(job_id: str) -> str:
    """The digest of a stored result, as a second service sees it."""
    with sqlite3.connect(STATE / "results.db") as database:
        query = "SELECT content FROM results WHERE job_id = ?"
        (content,) = database.execute(query, (job_id,)).fetchone()
    digest = hashlib.sha256(content.encode()).hexdigest()
    return digest[::-1] if FAULT == "wrong_memory" else digest


def is_sick() -> bool:
    """Whether this health check fails."""
    if FAULT.startswith("flicker:"):
        return PROBES.count("/healthz") == int(FAULT.partition(":")[2])
    return FAULT == "slow_health" or (FAULT == "sicken" and len(PROBES) > SICK_AFTER)


def keep_port(server: ThreadingHTTPServer) -> None:
    """On SIGTERM: leave a process that holds the port, in a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.set_inheritable(server.fileno(), True)  # noqa: FBT003 - its only form
            sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
            os.execve(sys.executable, sleeper, {})  # noqa: S606
        os._exit(0)
    os._exit(0)


def leave_something(server: ThreadingHTTPServer) -> None:
    """What the fault has this service leave behind."""
    if FAULT == "zombie" and os.fork() == 0:
        os._exit(0)
    if FAULT == "keep_port":
        signal.signal(signal.SIGTERM, lambda *_: keep_port(server))
    if FAULT == "temporary_file":
        Path(tempfile.gettempdir(), f"left-by-{NAME}").touch()
    if FAULT == "shared_memory":
        memory = Path(f"/dev/shm/left-by-{PORT}")  # noqa: S108
        memory.write_bytes(bytes(4096))
        with memory.open("r+b") as file:
            HELD.append(mmap.mmap(file.fileno(), 4096))


class Server(ThreadingHTTPServer):
    """A backlog that parallel clients do not overflow."""

    request_queue_size = 128


class Handler(BaseHTTPRequestHandler):
    """Health, jobs, and nothing else."""

    def answer(self, status: int, value: object) -> None:
        """Send JSON."""
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        """Health, readiness, one job."""
        if self.path in {"/healthz", "/readyz"}:
            PROBES.append(self.path)
            if FAULT == "crash_later" and PROBES.count("/healthz") == LATER:
                os._exit(9)
            self.answer(503 if is_sick() else 200, {"service": NAME})
            return
        if self.path.startswith("/memory/"):
            self.answer(200, {"sha256": remembered(self.path.rsplit("/", 1)[1])})
            return
        if FAULT == "forget" and PROBES.count(self.path) > 0:
            self.answer(404, {})
            return
        PROBES.append(self.path)
        found = [job for job in JOBS.values() if self.path == f"/jobs/{job['id']}"]
        self.answer(200 if found else 404, found[0] if found else {})

    def do_POST(self) -> None:
        """Submit a job."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if FAULT == "refuse" or self.headers.get("Authorization") != f"Bearer {os.environ['KEY']}":
            self.answer(401, {"error": "refused"})
            return
        if FAULT == "wait_for_crash":
            wait_for_crash()
        key = self.headers.get("Idempotency-Key", str(len(JOBS)))
        print(f"{NAME} took {body.decode()} with key {os.environ['KEY']}", flush=True)
        self.answer(201, make_job(key))

    def log_message(self, *_: object) -> None:
        """No access log."""


def main() -> None:
    """Serve until SIGTERM."""
    if FAULT == "exit":
        print("planted: the database is locked", flush=True)
        sys.exit(3)
    if FAULT == "ignore_sigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    if FAULT == "helper":
        subprocess.Popen(["/bin/sh", "-c", "sleep 0.2 &"]).wait()
    if FAULT == "leak":
        body = [f"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC{line:04}" for line in range(40)]
        dashes = "-" * 5
        key = [f"{dashes}BEGIN PRIVATE KEY{dashes}", *body, f"{dashes}END PRIVATE KEY{dashes}"]
        print("\n".join([*key, *(f"line {line}" for line in range(70))]), flush=True)
    if FAULT == "orphan":
        sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
        subprocess.Popen(sleeper, start_new_session=True)
    if FAULT in {"double_fork", "hidden"} and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
            os.execve(sys.executable, sleeper, {} if FAULT == "hidden" else dict(os.environ))  # noqa: S606
        os._exit(0)
    if FAULT == "eat":
        hoard = [bytearray(1 << 20) for _ in range(4096)]
        print(len(hoard), flush=True)
    server = Server((os.environ.get("HOST", "127.0.0.1"), PORT), Handler)
    print(f"{NAME} serves at {time.time()}", flush=True)
    leave_something(server)
    if FAULT == "crash_once":
        threading.Thread(target=crash_once, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
