"""What sees that an attack did something: a listener, and a look at the process table."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import ScriptError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

PROC = Path("/proc")
_LOOK_SECONDS = 0.001
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\ncanary"


class Listener:
    """A port of our own on loopback that nobody has a reason to connect to."""

    def __init__(self) -> None:
        """Open it."""
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._seen: list[float] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        """It is open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the port."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def count(self) -> int:
        """How many connections came so far."""
        return len(self._seen)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._seen.append(time.monotonic())
            with connection, contextlib.suppress(OSError):
                connection.settimeout(0.2)
                connection.recv(1024)
                connection.sendall(_ANSWER)


@dataclass(frozen=True)
class Seen:
    """A state in which a process was seen: arguments and, where it may be read, environment."""

    pid: int
    arguments: str
    environment: str | None


class ProcessTable:
    """Looks at new processes as often as it can while a block runs."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Take what to look for among arguments."""
        self._texts = [*texts]
        self._known = {*_pids()}
        self._over = threading.Event()
        self._found: dict[Seen, None] = {}
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        """Start looking; without anything to look for there is nothing to do."""
        if self._texts:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop looking."""
        self._over.set()
        if self._texts:
            self._thread.join()

    def found(self) -> tuple[Seen, ...]:
        """Each state of each process that had one of the texts among its arguments.

        A launcher and the program that it becomes are two states of one process.
        """
        return tuple(self._found)

    def _look(self) -> None:
        while not self._over.is_set():
            for pid in _pids():
                if pid not in self._known:
                    self._note(pid)
            self._over.wait(_LOOK_SECONDS)

    def _note(self, pid: int) -> None:
        arguments = _arguments(pid)
        if pid == os.getpid() or not any(text in arguments for text in self._texts):
            return
        # The arguments were read first: a program that they name has this environment, or
        # one that it became later.
        self._found[Seen(pid, arguments, _environment(pid))] = None


def _pids() -> Iterable[int]:
    if PROC.is_dir():
        return (int(name) for name in os.listdir(PROC) if name.isdecimal())  # noqa: PTH208 - ten times faster
    import psutil

    return psutil.pids()


def _arguments(pid: int) -> str:
    try:
        return (
            (PROC / str(pid) / "cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode("utf-8", "replace")
        )
    except OSError:
        return _slow_arguments(pid) if not PROC.is_dir() else ""


def _slow_arguments(pid: int) -> str:
    import psutil

    with contextlib.suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())
    return ""


def _environment(pid: int) -> str | None:
    try:
        data = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return None
    return data.replace(b"\0", b"\n").decode("utf-8", "replace")


def check_instruments(folder: Path) -> list[str]:
    """Prove that what is looked for can be seen here: a connection, a process, a file.

    Returns:
        The names of the instruments.

    Raises:
        ScriptError: one of them is blind, so that whatever it doesn't see means nothing.
    """
    from security.places import differences, snapshot

    marker = f"proof-pack-instrument-{os.getpid()}"
    before = snapshot(folder)
    trace = folder / marker
    with Listener() as listener, ProcessTable([marker]) as table:
        socket.create_connection(("127.0.0.1", listener.port), timeout=5).close()
        script = "import sys, time; time.sleep(0.3); open(sys.argv[1], 'w').close()"
        subprocess.run([sys.executable, "-S", "-c", script, str(trace)], check=True, timeout=30)
        _wait(lambda: listener.count() > 0)
    seen = {
        "connections": listener.count() > 0,
        "processes": bool(table.found()),
        "files": differences(before, snapshot(folder)) == [f"new: {trace}"],
    }
    trace.unlink(missing_ok=True)
    if blind := [name for name, works in seen.items() if not works]:
        raise ScriptError(f"can't see {blind[0]} on this machine: what is not seen proves nothing")
    return sorted(seen)


def _wait(condition: object) -> None:
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and callable(condition) and not condition():
        time.sleep(0.01)
