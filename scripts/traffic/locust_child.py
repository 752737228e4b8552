"""The child process that is the Locust master, seen from the soak: events out, commands in."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError, ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_SCRIPTS = Path(__file__).resolve().parents[1]
_START_SECONDS = 60.0
_END_SECONDS = 5.0
GONE = "gone"


class MasterChild:
    """Starts the master and speaks with it.

    Args:
        host: address to listen at.
        port: 0 for any.
        hidden: environment variables that it need not know.

    Raises:
        ConfigurationError: it can't listen there, or Locust is not installed.
    """

    def __init__(self, host: str, port: int, hidden: Collection[str] = ()) -> None:
        """Start it, and wait until it listens."""
        self._events: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.on_event: Callable[[], None] = lambda: None
        environ = {name: value for name, value in os.environ.items() if name not in hidden}
        paths = [str(_SCRIPTS), *filter(None, [environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "traffic.locust_master", host, str(port)],
            env={**environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        threading.Thread(target=self._read, name="locust master", daemon=True).start()
        try:
            self._await_start()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def _await_start(self) -> None:
        first = self.next(_START_SECONDS) or {"event": "silent"}
        if first["event"] == "failed":
            raise ConfigurationError(first["why"])
        if first["event"] != "listening":
            self._process.poll()
            raise ConfigurationError(
                "the Locust master did not start: its error stands above: "
                "where a package is missing, `uv run --with locust` brings it"
            )
        self.port, self.locust = int(first["port"]), str(first["locust"])

    def next(self, seconds: float = 0.0) -> dict[str, Any] | None:
        """The next event, or None when none came in time."""
        with contextlib.suppress(Empty):
            return self._events.get(timeout=seconds) if seconds > 0 else self._events.get_nowait()
        return None

    def command(self, kind: str, worker: str | None = None, **fields: object) -> None:
        """Have something said to one worker, or to all.

        Raises:
            ScriptError: the master has ended.
        """
        addressed = {"worker": worker} if worker else {}
        line = json.dumps({"command": kind, **addressed, **fields}) + "\n"
        assert self._process.stdin  # noqa: S101 - opened above
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise ScriptError(
                f"the Locust master ended (exit code {self._process.poll()}): "
                "see its error above, and go on with --resume"
            ) from None

    def _read(self) -> None:
        assert self._process.stdout  # noqa: S101 - opened above
        for line in self._process.stdout:
            self._put(json.loads(line))
        self._put({"event": GONE})

    def _put(self, event: dict[str, Any]) -> None:
        self._events.put(event)
        self.on_event()

    def close(self) -> None:
        """End it: it sends the workers home first."""
        assert self._process.stdin  # noqa: S101 - opened above
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
