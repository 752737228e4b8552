"""Services as processes of their own, on free ports, that can be killed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REFERENCE = Path(__file__).resolve().parents[1] / "compose/reference"
START_SECONDS = 60.0
# The program as it is, on other ports than the ones that are written down.
_PROGRAM = """
import json, sys
from services.kit import ports
ports.PORTS = json.loads(sys.argv[2])
from services.__main__ import main
sys.exit(main([sys.argv[1]]))
"""


@dataclass
class Process:
    """One service that runs, or ran."""

    name: str
    port: int
    environ: Mapping[str, str]
    ports: Mapping[str, int]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        """Start it."""
        self.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, also again, on the same port."""
        arguments = [sys.executable, "-c", _PROGRAM, self.name, json.dumps(dict(self.ports))]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                arguments, env=dict(self.environ), stdout=log, stderr=log
            )

    def until_ready(self) -> None:
        """Wait until it says so."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            ended = self.process.poll()
            assert ended is None, f"{self.name} ended with {ended}: {self.log.read_text()}"
            assert time.monotonic() < deadline, f"{self.name} did not start in time"
            time.sleep(0.05)

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.wait(10)


@contextmanager
def processes(
    names: Sequence[str], state: Path, environ: Mapping[str, str], copies: int = 1
) -> Iterator[dict[str, list[Process]]]:
    """Run services over one prepared state folder, each `copies` times; gone afterwards."""
    running: dict[str, list[Process]] = {name: [] for name in names}
    with ExitStack() as stops:
        for copy in range(copies):
            ports = {name: free_port() for name in names}
            told = {f"{name.upper().replace('-', '_')}_URL": f"http://127.0.0.1:{port}"
                    for name, port in ports.items()}  # fmt: skip
            told |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(REFERENCE), **environ}
            all_ports = {"targets": 9, **dict.fromkeys(_all_names(), 9), **ports}
            for name in names:
                log = state / f"{name}-{copy}.log"
                process = Process(name, ports[name], told, all_ports, log)
                stops.callback(process.kill)
                running[name].append(process)
        for process in (process for found in running.values() for process in found):
            process.until_ready()
        yield running


def _all_names() -> tuple[str, ...]:
    from services.kit.ports import SYSTEM_SERVICES

    return SYSTEM_SERVICES


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
