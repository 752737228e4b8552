"""The process runtime: services as child processes, nothing to install, nothing left."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from common.cli import ConfigurationError, ScriptError
from common.hashing import sha256_file
from stack import ports, records
from stack.child import Child, Launch
from stack.environment import ensure_environment, locked_versions
from stack.installed import verify_installed
from stack.kernel import adopt_orphans
from stack.model import ProcessRuntimeFile, Service, Stack, Store
from stack.placeholders import fill
from stack.runtime import Started
from stack.secret_values import choose_secrets, keep_secrets
from stack.watch import Events, Watchers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# All that a service sees of the user's environment; the stack file adds the rest.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SYSTEMROOT", "SSL_CERT_FILE", "USERPROFILE")
_PREPARE_SECONDS = 120


class ProcessRuntime:
    """Starts in dependency order as far in parallel as the dependencies allow.

    Create and use it in the main thread: on Linux the kernel ends the services
    with the thread that started them.
    """

    name = "process"

    def __init__(self, stack: Stack, plan: ProcessRuntimeFile, environ: Mapping[str, str]) -> None:
        """Make the private state folder and its secrets; nothing runs yet."""
        self.secrets = choose_secrets(stack.secrets, environ)
        self.stack, self._plan = stack, plan
        self._before = _descendants() if adopt_orphans() else None
        self.record = records.new_record(stack.file)
        self.state = Path(self.record.state)
        self._logs, temporary = self.state / "logs", self.state / "tmp"
        self._logs.mkdir()
        temporary.mkdir()
        keep_secrets(self.secrets, self.state)
        self._base = {name: environ[name] for name in _INHERITED if name in environ}
        self._base |= {records.MARKER: self.record.marker, "TMPDIR": str(temporary)}
        self._base |= {"TEMP": str(temporary), "TMP": str(temporary)}
        self._python = Path(sys.executable)
        self._children: dict[str, Child] = {}

    @property
    def services(self) -> tuple[Service, ...]:
        """All services of the stack file."""
        return self.stack.services

    def prepare(self) -> None:
        """Build the stack's environment and run its prepare commands.

        Raises:
            ScriptError: the packages can't be installed, or a command failed.
        """
        if self._plan.requirements:
            self._python = ensure_environment(self._plan.requirements)
        for command in self._plan.prepare:
            self._prepare(self._filled(command))

    def metadata(self) -> dict[str, Any]:
        """The interpreter and the lock that the services run from; no container here."""
        lock = self._plan.requirements
        return {
            "kind": self.name,
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
            self._prepare([str(self._python), "-c", f"import {', '.join(modules)}"])
        return len(modules)

    def _prepare(self, command: list[str]) -> None:
        try:
            done = subprocess.run(
                command,
                env=self._environment({}),
                cwd=self.stack.here,
                capture_output=True,
                text=True,
                check=False,
                timeout=_PREPARE_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise ScriptError(f"the prepare command {command[:4]} can't run: {problem}") from None
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
            raise ScriptError(
                f"the prepare command {' '.join(command[:4])} exited {done.returncode}: {last[0]}"
            )

    def start(self) -> Sequence[Started]:
        """Start all services; returns when each is ready and its listener is ours.

        Raises:
            ScriptError: a port is taken (nothing was started), a service ended or did
                not get ready in time; then everything is stopped again.
        """
        self._free_ports()
        try:
            started = self._start_all()
            self._check_listeners()
        except BaseException:
            self.stop()
            raise
        return started

    def _free_ports(self) -> None:
        ports.require_free(ports.local_ports(self.services))

    def _start_all(self) -> tuple[Started, ...]:
        begun, events = time.monotonic(), Events()
        waiting = {item.name: set(item.depends_on) for item in self.services}
        ready: dict[str, float] = {}
        with Watchers(events) as watchers:
            while len(ready) < len(self.services):
                for name in [name for name, needs in waiting.items() if not needs]:
                    del waiting[name]
                    watchers.watch(self.stack.service(name), self._spawn(name))
                kind, name, detail = events.get()
                if kind == "failed":
                    raise ScriptError(self._with_last_log(name, detail))
                if kind == "ready":
                    ready[name] = time.monotonic() - begun
                for needs in waiting.values():
                    needs.discard(name)
        return tuple(
            Started(
                item.name,
                self._children[item.name].pid,
                healthy=True,
                ready_seconds=ready[item.name],
            )
            for item in self.services
        )

    def launch(self, name: str) -> Launch:
        """What starting a service means: its arguments, environment, folder and log."""
        entry = self._plan.services[name]
        return Launch(
            self._filled(entry.command),
            self._environment(entry.environment),
            self.stack.here / (entry.folder or "."),
            self._logs / f"{name}.log",
        )

    def _spawn(self, name: str) -> Child:
        child = Child.start(name, self.launch(name))
        self._children[name] = child
        self.record.processes[name] = (child.pid, child.created)
        self.record.save()
        return child

    def _check_listeners(self) -> None:
        wanted = ports.local_ports(self.services)
        owned = {name: self._children[name].tree_pids() for name in wanted}
        everyone = [pid for pids in owned.values() for pid in pids]
        seen = ports.listeners(wanted.values(), everyone)
        for name, port in wanted.items():
            owners = {row.pid for row in seen if row.port == port}
            if not owners or not owners <= owned[name]:
                got = ports.describe_owner(port) if owners else "nobody"
                raise ScriptError(
                    f"expected {name} (pid {self._children[name].pid}) to listen on port {port}, "
                    f"got {got}: stop that process"
                )

    def restart(self, name: str) -> Started:
        """Start one service again after it ended, and wait until it is ready.

        Raises:
            ScriptError: it still runs, its port is taken, or it does not get ready.
        """
        if self._children[name].running:
            raise ScriptError(f"can't restart {name}: it still runs: end it first")
        service = self.stack.service(name)
        ports.require_free(ports.local_ports([service]))
        begun, events = time.monotonic(), Events()
        with Watchers(events) as watchers:
            watchers.watch(service, self._spawn(name))
            while (event := events.get())[0] == "healthy":
                pass
        if event[0] == "failed":
            raise ScriptError(self._with_last_log(name, event[2]))
        return Started(
            name, self._children[name].pid, healthy=True, ready_seconds=time.monotonic() - begun
        )

    def kill(self, name: str) -> None:
        """End one service and its descendants at once (SIGKILL)."""
        self._children[name].kill()

    def stop(self) -> Sequence[str]:
        """Stop each service once the ones that need it have ended.

        Returns:
            A line for each process that had to be killed or was left by a service.
        """
        findings = self._stop_children()
        findings += [f"left over: {line}" for line in records.end_processes(self._strays())]
        self._children.clear()
        return findings

    def _strays(self) -> list[psutil.Process]:
        """Processes of this run that no service tree holds any more.

        Found by their environment, and where orphans come to us also by their parent:
        a double fork hides from the one, a cleared environment from the other.
        """
        found = {item.pid: item for item in records.marked_processes(self.record.marker)}
        if self._before is not None:
            adopted = _descendants()
            found |= {pid: adopted[pid] for pid in adopted.keys() - self._before.keys()}
        return [*found.values()]

    def close(self) -> None:
        """Remove the state folder and forget the run; call it after `stop`."""
        shutil.rmtree(self.state, ignore_errors=True)
        self.record.remove()

    def _stop_children(self) -> list[str]:
        findings: list[str] = []
        needed_by = {
            name: {item.name for item in self.services if name in item.depends_on}
            for name in self._children
        }
        remaining = dict(self._children)
        while remaining:
            for name, child in [*remaining.items()]:
                if not needed_by[name] & remaining.keys():
                    child.ask_to_end(self.stack.service(name).stop_seconds)
                    if finding := child.poll_end():
                        findings.append(finding)
                    if child.ended:
                        del remaining[name]
            time.sleep(0.005)
        return findings

    def log_text(self, name: str, lines: int) -> str | None:
        """The last lines of what a service wrote to stdout and stderr."""
        path = self._logs / f"{name}.log"
        if not path.is_file():
            return None
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - lines * 4096))
            text = file.read().decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])

    def store(self, name: str) -> Store | None:
        """Where a store of this run is."""
        entry = self.stack.stores.get(name, {}).get(self.name)
        return entry and Store(name, entry.kind, fill(entry.location, self._values()))

    def _values(self) -> dict[str, object]:
        named = {f"secret:{name}": value for name, value in self.secrets.items()}
        return {"python": self._python, "state": self.state, "here": self.stack.here, **named}

    def _filled(self, command: Sequence[str]) -> list[str]:
        return [fill(part, self._values()) for part in command]

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        values = self._values()
        added = {
            key: fill(text, values) for key, text in {**self._plan.environment, **more}.items()
        }
        return {**self._base, **added}

    def _with_last_log(self, name: str, detail: str) -> str:
        last = [line for line in (self.log_text(name, 20) or "").splitlines() if line.strip()]
        return f"{name} {detail}" + (f": its last log line is: {last[-1][:300]}" if last else "")


def _descendants() -> dict[int, psutil.Process]:
    return {item.pid: item for item in psutil.Process().children(recursive=True)}


def create(stack: Stack, environ: Mapping[str, str] = os.environ) -> ProcessRuntime:
    """The process runtime of a stack.

    Raises:
        ConfigurationError: the stack file has no `runtimes.process`.
    """
    if stack.process is None:
        raise ConfigurationError(f"{stack.file}: expected the section runtimes.process, got none")
    return ProcessRuntime(stack, stack.process, environ)
