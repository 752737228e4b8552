"""Run `docker compose` v2, or `docker-compose` where only that is there, within a bound."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cli import ConfigurationError, ScriptError
from stack.compose.problems import explain
from stack.kernel import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

VERSION_SECONDS = 20
_TAIL_BYTES = 64 << 10
_END_SECONDS = 5
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class ComposeProgram:
    """The program that was found, and its version."""

    command: tuple[str, ...]
    version: str


def find_compose(environ: Mapping[str, str]) -> ComposeProgram:
    """`docker compose`, else `docker-compose` (P9).

    Raises:
        ConfigurationError: neither is there; says which of the two is missing.
    """
    docker = shutil.which("docker", path=environ.get("PATH"))
    single = shutil.which("docker-compose", path=environ.get("PATH"))
    for command in ([docker, "compose"] if docker else None, [single] if single else None):
        if command and (version := _version_of(command, environ)):
            return ComposeProgram(tuple(command), version)
    if docker is None and single is None:
        raise ConfigurationError(
            "docker is not installed (not in PATH): install Docker Engine or Docker Desktop, "
            "or prove with --runtime process"
        )
    raise ConfigurationError(
        "the Compose plugin of docker is missing, and there is no docker-compose: "
        "install the package docker-compose-plugin"
    )


def _version_of(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    try:
        done = subprocess.run(
            [*command, "version", "--short"],
            capture_output=True,
            text=True,
            check=False,
            env=dict(environ),
            timeout=VERSION_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@dataclass
class Running:
    """A Compose command that goes on; what it says is in `log`."""

    process: subprocess.Popen[bytes]
    what: str
    log: Path

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def said(self) -> str:
        """The end of what it said."""
        with self.log.open("rb") as stream:
            stream.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
            return stream.read().decode("utf-8", "replace")

    def end(self) -> None:
        """Kill it and what it started; nothing happens where it has ended."""
        if sys.platform != "win32":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_END_SECONDS)


@dataclass(frozen=True)
class Compose:
    """Compose for one project of one file.

    Args:
        program: what `find_compose` found.
        file: the Compose file; an override file beside it is not read.
        project: the name of the project, new in each run.
        profiles: what is switched on.
        environ: the environment of the command, with the variables of the stack file.
        logs: the folder that its output goes to.
        clean: takes secrets out of what is shown.
    """

    program: ComposeProgram
    file: Path
    project: str
    profiles: tuple[str, ...]
    environ: Mapping[str, str]
    logs: Path
    clean: Callable[[str], str]

    def start(self, *arguments: str) -> Running:
        """Start a command in a session of its own: our Ctrl-C is not its Ctrl-C."""
        log = self.logs / f"compose-{arguments[0]}.txt"
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        profiles = [part for name in self.profiles for part in ("--profile", name)]
        where = ["-f", str(self.file), "-p", self.project, *profiles]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self.program.command, *where, *arguments],
                env=dict(self.environ),
                cwd=self.file.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=os.name == "posix",
                creationflags=flags,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - it makes one system call
            )
        return Running(process, arguments[0], log)

    def run(self, *arguments: str, seconds: float) -> str:
        """Run a command to its end; what it said.

        Raises:
            ScriptError: it failed or took longer than `seconds`; in one line.
        """
        running = self.start(*arguments)
        deadline = time.monotonic() + seconds
        try:
            while not running.over:
                if time.monotonic() > deadline:
                    raise ScriptError(
                        f"docker compose {arguments[0]} did not end within {seconds:g} s: "
                        "look at the engine's load and log"
                    )
                time.sleep(_POLL_SECONDS)
        finally:
            if not running.over:
                running.end()
        self.check(running)
        return running.said()

    def read(self, *arguments: str) -> str:
        """Run a command whose stdout is the answer, apart from what it says beside it."""
        profiles = [part for name in self.profiles for part in ("--profile", name)]
        where = ["-f", str(self.file), "-p", self.project, *profiles]
        try:
            done = subprocess.run(
                [*self.program.command, *where, *arguments],
                env=dict(self.environ),
                cwd=self.file.parent,
                capture_output=True,
                text=True,
                check=False,
                timeout=VERSION_SECONDS,
                start_new_session=os.name == "posix",
                preexec_fn=die_with_parent(),
            )
        except subprocess.TimeoutExpired:
            raise ScriptError(
                f"docker compose {arguments[0]} did not end within {VERSION_SECONDS} s"
            ) from None
        if done.returncode:
            said = self.clean(done.stderr)
            raise explain(arguments[0], said, done.returncode, self.file.name)
        return done.stdout

    def check(self, running: Running) -> None:
        """Refuse a command that failed.

        Raises:
            ScriptError: with what it said, in one line.
        """
        code = running.process.poll()
        if code:
            said = self.clean(running.said())
            raise explain(running.what, said, code, self.file.name)
