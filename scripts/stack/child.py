"""One service process: start, ask to end, kill, and what it left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from common.cli import ScriptError
from stack.kernel import die_with_parent
from stack.left_over import LeftOver
from stack.records import MARKER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


_GIVE_UP_SECONDS = 10.0


@dataclass(frozen=True)
class Launch:
    """What is started, with every placeholder filled."""

    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    log: Path


@dataclass
class Child:
    """A started service, in a process group of its own."""

    name: str
    process: subprocess.Popen[bytes]
    _deadline: float | None = field(default=None)
    _killed: bool = field(default=False)
    _tree: list[psutil.Process] = field(default_factory=list)

    @classmethod
    def start(cls, name: str, launch: Launch) -> Child:
        """Start a service with stdout and stderr appended to its log.

        Raises:
            ScriptError: the command or the folder does not exist, or may not run.
        """
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        try:
            with launch.log.open("ab") as output:
                process = subprocess.Popen(
                    launch.command,
                    env=dict(launch.environment),
                    cwd=launch.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=os.name == "posix",
                    creationflags=flags,
                    preexec_fn=die_with_parent(),  # noqa: PLW1509 - it makes one system call
                )
        except OSError as problem:
            raise ScriptError(
                f"can't start {name} with {launch.command[0]}: {problem.strerror}"
            ) from None
        return cls(name, process)

    @property
    def pid(self) -> int:
        """The process id of the service itself."""
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the service process has not ended."""
        return self.process.poll() is None

    @property
    def ended(self) -> bool:
        """Whether the service and its descendants that were seen have ended, or can't be ended."""
        if self._deadline is not None and time.monotonic() > self._deadline + _GIVE_UP_SECONDS:
            return True
        return not self.running and all(reaped(item) for item in self._tree)

    def exit_text(self) -> str:
        """How the process ended, for people."""
        code = self.process.poll()
        if code is None:
            return "no exit yet"
        if code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"

    def tree(self) -> list[psutil.Process]:
        """The service and its descendants; empty where it has gone."""
        try:
            own = psutil.Process(self.pid)
            return [own, *own.children(recursive=True)]
        except psutil.Error:
            return []

    def tree_pids(self) -> set[int]:
        """The service's process id and those of its descendants."""
        return {self.pid, *(item.pid for item in self.tree())}

    def ask_to_end(self, grace_seconds: float) -> None:
        """Send SIGTERM (Windows: Ctrl-Break) once; later calls do nothing."""
        if self._deadline is not None:
            return
        self._deadline = time.monotonic() + grace_seconds
        self._remember_tree()
        if self.running:
            if sys.platform == "win32":
                self.process.send_signal(signal.CTRL_BREAK_EVENT)
            else:
                self.process.terminate()

    def poll_end(self) -> LeftOver | None:
        """Kill what outlived its grace; returns a line about it, once."""
        if self.ended or self._killed or self._deadline is None:
            return None
        if time.monotonic() < self._deadline:
            return None
        self._killed = True
        kind, what = ("late", "did not stop") if self.running else ("processes", "left processes")
        pids = sorted(item.pid for item in self._tree if not reaped(item))
        self.kill()
        return LeftOver(kind, f"{self.name} {what} within its grace: killed {pids or [self.pid]}")

    def kill(self) -> None:
        """SIGKILL the service's process group and every descendant, and reap it."""
        self._remember_tree()
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        for item in self._tree:
            try:
                item.kill()
            except psutil.Error:
                continue
        with contextlib.suppress(PermissionError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait(_GIVE_UP_SECONDS)

    def _remember_tree(self) -> None:
        known = self.tree()[1:]
        self._tree = [*{item.pid: item for item in [*self._tree, *known]}.values()]


def reaped(process: psutil.Process) -> bool:
    """Whether a process has ended; a zombie that was handed to us is reaped on the way."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            process.wait(timeout=0)
            return True
        return not process.is_running()
    except psutil.TimeoutExpired:
        return True
    except (psutil.Error, ChildProcessError):
        return True


def adopted_orphans(marker: str) -> list[psutil.Process]:
    """Our descendants that no service of another run and no command of ours explains (Linux).

    Services have sessions of their own, so what they leave is in another session than we
    are; what this program starts for itself is in ours. A marker of another run is
    another runtime's business.
    """
    ours, found = os.getsid(0), []
    for item in psutil.Process().children(recursive=True):
        try:
            other = item.environ().get(MARKER, marker) != marker
        except psutil.Error:
            other = False
        with contextlib.suppress(OSError):
            if not other and os.getsid(item.pid) != ours:
                found.append(item)
    return found
