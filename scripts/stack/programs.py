"""The programs of a process stack: what they run from, and with which environment."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from common.hashing import sha256_file
from evidence.redact import Redactor
from stack.child import Launch
from stack.environment import ensure_environment, locked_versions
from stack.installed import verify_installed
from stack.kernel import die_with_parent
from stack.placeholders import fill

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stack.model import ProcessRuntimeFile

# All that a service sees of the user's environment; the stack file adds the rest.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SYSTEMROOT", "SSL_CERT_FILE", "USERPROFILE")
_PREPARE_SECONDS = 120


class PrepareError(ScriptError):
    """A command of the stack's own, such as its migrations, failed."""


class Programs:
    """Fills the stack file's commands and runs the ones that are no service.

    Args:
        plan: the `runtimes.process` section.
        here: the folder of the stack file.
        state: the run's private folder; logs and temporary files go below it.
        secrets: values of the stack's secrets.
        environ: the user's environment, of which little is passed on.
        marked: variables that every program carries, so that it can be found again.
    """

    def __init__(
        self,
        plan: ProcessRuntimeFile,
        here: Path,
        state: Path,
        *,
        secrets: Mapping[str, str],
        environ: Mapping[str, str],
        marked: Mapping[str, str],
    ) -> None:
        """Make the folders for logs and temporary files."""
        self._plan, self._here, self._state, self._secrets = plan, here, state, secrets
        self.logs, self.temporary = state / "logs", state / "tmp"
        self.logs.mkdir()
        self.temporary.mkdir()
        inherited = {name: environ[name] for name in _INHERITED if name in environ}
        folders = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.temporary))
        self._base = {**inherited, **marked, **folders}
        self._python = Path(sys.executable)
        self._commands: dict[str, Sequence[str]] = {}

    def build(self) -> None:
        """Build the stack's environment and run its prepare commands.

        Raises:
            PrepareError: one of these commands failed.
            ScriptError: the packages can't be installed.
        """
        if self._plan.requirements:
            self._python = ensure_environment(self._plan.requirements)
        for command in self._plan.prepare:
            try:
                self._run(command)
            except ScriptError as problem:
                raise PrepareError(str(problem)) from problem

    def metadata(self) -> dict[str, Any]:
        """The interpreter and the lock that the services run from."""
        lock = self._plan.requirements
        return {
            "images": [],
            "python": platform.python_version(),
            "lock": lock and {"file": lock.name, "sha256": sha256_file(lock)},
            "packages": locked_versions(lock) if lock else {},
            "summary": f"Python {platform.python_version()}, lock {lock.name if lock else 'none'}",
        }

    def verify_lock(self) -> dict[str, int] | None:
        """Hold the stack's environment against its lock, file by file (H1)."""
        if self._plan.requirements is None:
            return None
        found = verify_installed(self._plan.requirements)
        return {"packages": found.packages, "files": found.files}

    def import_modules(self) -> int:
        """Import the modules of `runtimes.process.imports`, all in one fresh interpreter."""
        modules = self._plan.imports
        if modules:
            self._run(["{python}", "-c", f"import {', '.join(modules)}"])
        return len(modules)

    def launch(self, name: str) -> Launch:
        """What starting a service means: its arguments, environment, folder and log."""
        entry = self._plan.services[name]
        return Launch(
            self._filled(self._commands.get(name, entry.command)),
            self._environment(entry.environment),
            self._here / (entry.folder or "."),
            self.logs / f"{name}.log",
        )

    def use_commands(self, commands: Mapping[str, Sequence[str]]) -> None:
        """Start these services with other commands from now on, all others as the file says."""
        self._commands = dict(commands)

    def place(self, location: str) -> str:
        """A store's location with its placeholders filled."""
        return fill(location, self._values())

    def _run(self, command: Sequence[str]) -> None:
        shown = " ".join(command[:4])  # as it stands in the stack file: without the secrets
        try:
            done = subprocess.run(
                self._filled(command),
                env=self._environment({}),
                cwd=self._here,
                capture_output=True,
                text=True,
                check=False,
                timeout=_PREPARE_SECONDS,
                preexec_fn=die_with_parent(),
            )
        except OSError as problem:
            raise ScriptError(f"can't run {shown}: {(problem.strerror or '').lower()}") from None
        except subprocess.TimeoutExpired:
            raise ScriptError(f"{shown} did not end within {_PREPARE_SECONDS} s") from None
        if done.returncode:
            said = Redactor(self._secrets.values()).text(done.stderr or done.stdout)
            last = said.strip().splitlines()[-1:] or ["no output"]
            raise ScriptError(f"{shown} exited {done.returncode}: {last[0][:300]}")

    def _values(self) -> dict[str, object]:
        named = {f"secret:{name}": value for name, value in self._secrets.items()}
        return {"python": self._python, "state": self._state, "here": self._here, **named}

    def _filled(self, command: Sequence[str]) -> list[str]:
        return [fill(part, self._values()) for part in command]

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        values, wanted = self._values(), {**self._plan.environment, **more}
        return {**self._base, **{key: fill(text, values) for key, text in wanted.items()}}
