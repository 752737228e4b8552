"""A Locust master, workers in processes of their own, and the fake system they load."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fakes.system import stack_value, write_value

from stack.load import load_stack
from traffic.clock import boottime_seconds
from traffic.locust_engine import LocustEngine, LocustOptions
from traffic.locust_wire import TOKEN_VARIABLE
from traffic.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from traffic_system import FakeSystem

    from traffic.generator import TrafficReport
    from traffic.sample import Sample

SCRIPT = Path(__file__).resolve().parents[1] / "scripts/run_locust_worker.py"
TOKEN = "a-token-of-the-tests"
KEY = "FAKE_KEY"
SECRET = "a-secret-of-the-tests"
ONE: dict[str, Any] = {
    "name": "one",
    "service": "front",
    "every_seconds": 0.1,
    "timeout_seconds": 2,
    "path": "/ok",
    "headers": {"Authorization": "Bearer {secret:FAKE_KEY}"},
    "expect": {"status": 200},
}


@dataclass
class LocustSystem:
    """One run of an engine with its workers.

    Args:
        folder: for the stack file.
        url: of the fake system.
        traffic: profiles as the stack file has them.
    """

    folder: Path
    url: str
    traffic: list[dict[str, Any]]
    options: LocustOptions = field(default_factory=lambda: LocustOptions(port=0, wait_seconds=60))
    samples: list[Sample] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)
    started: list[tuple[int, int, int, float]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    workers: list[subprocess.Popen[str]] = field(default_factory=list)
    environ_of: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:  # noqa: D105 - see the class
        value = stack_value()
        value["services"][0]["url"] = self.url
        value["traffic"] = self.traffic
        self.file = write_value(self.folder, value)
        self.stack = load_stack(self.file, {})
        self.target = Target({"front": self.url}, {KEY: SECRET})
        self.engine = LocustEngine(self.stack, self.target, self.options, self.say)

    def say(self, line: str) -> None:
        """Takes the engine's lines; the first one says where workers are to go."""
        self.lines.append(line)
        if len(self.lines) == 1:
            for number in range(self.options.workers):
                self.work(f"worker-{number}")

    def work(self, name: str, **changes: Any) -> subprocess.Popen[str]:
        """Start a worker; `file`, `token` and `port` as given."""
        environ = {**os.environ, TOKEN_VARIABLE: changes.get("token", TOKEN)}
        environ |= {KEY: SECRET, **self.environ_of.get(name, {})}
        port = changes.get("port") or self.engine.port
        words = ["--stack", str(changes.get("file", self.file)), "--name", name]
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *words, "--master-port", str(port)],
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.workers.append(process)
        return process

    async def run(self, seconds: float, **options: Any) -> TrafficReport:
        """Send traffic for some seconds."""
        return await self.engine.run_traffic(
            self.stack.traffic,
            self.target,
            **{
                "start": boottime_seconds() + 0.5,
                "stop": asyncio.Event(),
                "duration_seconds": seconds,
                "on_sample": self.take,
                "on_start": lambda *begun: self.started.append(begun),
                **options,
            },
        )

    def send(self, seconds: float, **options: Any) -> TrafficReport:
        """Start everything, send, end everything."""
        with self.engine:
            return asyncio.run(self.run(seconds, **options))

    def take(self, sample: Sample, text: str | None) -> None:
        """An `on_sample`."""
        self.samples.append(sample)
        self.texts.append(text)

    def close(self) -> None:
        """End what a test has left."""
        for worker in self.workers:
            worker.kill()
            worker.wait()
            if worker.stderr:
                worker.stderr.close()


def later(seconds: float, what: Any) -> None:
    """Do something while the traffic runs."""
    timer = threading.Timer(seconds, what)
    timer.daemon = True
    timer.start()


def outcomes(system: LocustSystem) -> dict[str, int]:
    """How many samples of each outcome."""
    names = [sample.outcome.name for sample in system.samples]
    return {name: names.count(name) for name in sorted(set(names))}


class Making:
    """Makes systems, and ends what is left of them."""

    def __init__(
        self,
        start_system: Callable[..., FakeSystem],
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
        monkeypatch.setenv(KEY, SECRET)
        self._start_system, self._folder = start_system, folder
        self._made: list[LocustSystem] = []

    def __call__(
        self,
        *traffic: dict[str, Any],
        server: tuple[str, ...] = (),
        url: str | None = None,
        **options: Any,
    ) -> LocustSystem:
        """A system with this traffic; options are those of `LocustOptions`."""
        chosen = LocustOptions(**{"port": 0, "wait_seconds": 60, **options})
        where = url or self._start_system(*server).url
        self._made.append(LocustSystem(self._folder, where, [*traffic], chosen))
        return self._made[-1]

    def close(self) -> None:
        """End what a test has left."""
        for item in self._made:
            item.close()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    words += ["-days", "1", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *words, *files], check=True, capture_output=True)
    return certificate, key


class Answering(http.server.BaseHTTPRequestHandler):
    """Says yes to everything."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"yes")

    def log_message(self, *_what: object) -> None:
        """Be quiet."""


class Eavesdropper:
    """Stands between a worker and the master and keeps every byte."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self._server = socket.create_server(("127.0.0.1", 0))

    def __enter__(self) -> Self:  # noqa: D105 - see the class
        return self

    def __exit__(self, *_problem: object) -> None:  # noqa: D105 - see the class
        self._server.close()

    def introduce(self, system: LocustSystem) -> Callable[[str], None]:
        """A `say` that sends the worker through here."""

        def say(line: str) -> None:
            system.lines.append(line)
            if len(system.lines) == 1:
                threading.Thread(
                    target=self._pass_on, args=[system.engine.port], daemon=True
                ).start()
                system.work("worker-0", port=self._server.getsockname()[1])

        return say

    def _pass_on(self, port: int) -> None:
        one, _ = self._server.accept()
        other = socket.create_connection(("127.0.0.1", port))
        for here, there in ((one, other), (other, one)):
            threading.Thread(target=self._copy, args=[here, there], daemon=True).start()

    def _copy(self, here: socket.socket, there: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := here.recv(1 << 16):
                self.heard += data
                there.sendall(data)
