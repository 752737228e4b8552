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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


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
    created: float
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
        return cls(name, process, _created(process.pid))

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
        """Whether the service and all of its descendants that were seen have ended."""
        return not self.running and not any(_is_alive(item) for item in self._tree)

    def exit_text(self) -> str:
        """How the process ended, for people."""
        code = self.process.poll()
        if code is None:
            return "no exit yet"
        if code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"

    def tree_pids(self) -> set[int]:
        """The service's process id and those of its descendants."""
        try:
            children = psutil.Process(self.pid).children(recursive=True)
        except psutil.Error:
            children = []
        return {self.pid, *(item.pid for item in children)}

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

    def poll_end(self) -> str | None:
        """Kill what outlived its grace; returns a line about it, once."""
        if self.ended or self._killed or self._deadline is None:
            return None
        if time.monotonic() < self._deadline:
            return None
        self._killed = True
        what = "did not stop" if self.running else "left processes"
        pids = sorted(item.pid for item in self._tree if _is_alive(item))
        self.kill()
        return f"{self.name} {what} within its grace: killed {pids or [self.pid]}"

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
        self.process.kill()
        self.process.wait()

    def _remember_tree(self) -> None:
        try:
            known = psutil.Process(self.pid).children(recursive=True)
        except psutil.Error:
            known = []
        self._tree = [*{item.pid: item for item in [*self._tree, *known]}.values()]


def _created(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return time.time()


def _is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs; a zombie adopted by us is reaped on the way."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            process.wait(timeout=0)
            return False
        return process.is_running()
    except (psutil.Error, ChildProcessError):
        return False
