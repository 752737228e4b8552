"""The process runtime: services as child processes, nothing to install, nothing left."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import log
from common.cli import ConfigurationError, ScriptError
from evidence.redact import Redactor
from evidence.tail import tail_lines
from stack import ports, records
from stack.child import Child
from stack.identity import Identity, of_process
from stack.kernel import adopt_orphans
from stack.log_views import FileView
from stack.model import ProcessRuntimeFile, Service, Stack, Store
from stack.programs import Programs
from stack.remains import Remains
from stack.runtime import Started
from stack.secret_values import choose_secrets, keep_secrets
from stack.watch import Events, Watchers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stack.left_over import Inventory, LeftOver


class ProcessRuntime:
    """Starts in dependency order as far in parallel as the dependencies allow.

    Create and use it in the main thread: on Linux the kernel ends the services
    with the thread that started them.
    """

    name = "process"

    def __init__(self, stack: Stack, plan: ProcessRuntimeFile, environ: Mapping[str, str]) -> None:
        """Make the private state folder and its secrets; nothing runs yet."""
        self.secrets = choose_secrets(stack.secrets, environ)
        self.stack = stack
        self.record = records.new_record(stack.file)
        self.state = Path(self.record.state)
        keep_secrets(self.secrets, self.record)
        self.programs = Programs(
            plan,
            stack.here,
            self.state,
            secrets=self.secrets,
            environ=environ,
            marked={records.MARKER: self.record.marker},
        )
        self._in_use = False
        self._kept: list[LeftOver] = []
        self._children: dict[str, Child] = {}
        self._remains = Remains(self.record.marker, adopt_orphans(), self.programs.temporary)

    @property
    def services(self) -> tuple[Service, ...]:
        """All services of the stack file."""
        return self.stack.services

    def prepare(self) -> None:
        """Build the stack's environment and run its prepare commands.

        Raises:
            ScriptError: a port is taken: said before anything is built.
        """
        ports.require_free(ports.local_ports(self.services))
        self._in_use = True
        self.programs.build()

    def metadata(self) -> dict[str, Any]:
        """The interpreter and the lock that the services run from; no container here."""
        return {"kind": self.name, **self.programs.metadata()}

    def verify_lock(self) -> dict[str, int] | None:
        """Hold the stack's environment against its lock, file by file (H1)."""
        return self.programs.verify_lock()

    def import_modules(self) -> int:
        """Import the modules of `runtimes.process.imports` (H1)."""
        return self.programs.import_modules()

    def start(self) -> Sequence[Started]:
        """Start all services; returns when each is ready and its listener is ours.

        Raises:
            ScriptError: a port is taken (nothing was started), a service ended or did
                not get ready in time; then everything is stopped again.
        """
        ports.require_free(ports.local_ports(self.services))
        self._in_use = True
        try:
            started = self._start_all()
            self._check_listeners({item.name for item in started if item.healthy})
        except BaseException:
            self._kept = [*self.stop()]
            raise
        return started

    def _start_all(self) -> tuple[Started, ...]:
        begun, events = time.monotonic(), Events()
        waiting = {item.name: set(item.depends_on) for item in self.services}
        ready: dict[str, float | None] = {}
        with Watchers(events) as watchers:
            while len(ready) < len(self.services):
                for name in [name for name, needs in waiting.items() if not needs]:
                    del waiting[name]
                    watchers.watch(self.stack.service(name), self._spawn(name))
                kind, name, detail = events.get()
                if kind == "failed" and self.stack.service(name).required:
                    raise ScriptError(self._with_last_log(name, detail))
                if kind == "failed":
                    log.warn(f"optional: {self._with_last_log(name, detail)}")
                    ready[name] = None
                if kind == "ready":
                    ready[name] = time.monotonic() - begun
                for needs in waiting.values():
                    needs.discard(name)
        return tuple(
            Started(
                item.name,
                self._children[item.name].pid,
                healthy=ready[item.name] is not None,
                ready_seconds=ready[item.name],
            )
            for item in self.services
        )

    def _spawn(self, name: str) -> Child:
        child = Child.start(name, self.programs.launch(name))
        self._children[name] = child
        self.record.processes[name] = (child.pid, records.birth(child.pid))
        self.record.save()
        return child

    def _check_listeners(self, healthy: set[str]) -> None:
        wanted = ports.local_ports(item for item in self.services if item.name in healthy)
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

    def stop(self) -> Sequence[LeftOver]:
        """Stop each service once the ones that need it have ended.

        Returns:
            A line for each process that had to be killed or was left by a service; also those
            of a start that failed.
        """
        findings, self._kept = self._kept, []
        if not self._in_use:
            return findings
        findings += self._stop_children()
        findings += self._remains.end_strays()
        self._children.clear()
        self._in_use = False
        return findings

    def examine(self) -> Sequence[LeftOver]:
        """Zombies that the running services keep (G1)."""
        return self._remains.examine({name: item.tree() for name, item in self._children.items()})

    def inventory(self) -> Inventory:
        """What there is of this run on the machine now (G1)."""
        return self._remains.inventory(ports.local_ports(self.services))

    def state_of(self, name: str) -> str:
        """Whether a service runs, or how it ended."""
        child = self._children.get(name)
        if child is None:
            return "not started"
        return f"pid {child.pid} runs" if child.running else child.exit_text()

    def close(self) -> None:
        """Remove state and secrets and forget the run; call it after `stop`."""
        self.record.remove_folders()
        self.record.remove()

    def _stop_children(self) -> list[LeftOver]:
        findings: list[LeftOver] = []
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

    def log_path(self, name: str) -> Path | None:
        """What a service wrote to stdout and stderr."""
        path = self.programs.logs / f"{name}.log"
        return path if path.is_file() else None

    def identities(self) -> dict[str, Identity | None]:
        """The process of each service, as it was started."""
        known = self.record.processes
        return {name: of_process(*known[name]) for name in self._children}

    def more_logs(self) -> dict[str, Path]:
        """Only services write logs here."""
        return {}

    def log_views(self) -> dict[str, FileView | None]:
        """The services' logs, each from its end on."""
        known = {item.name: self.log_path(item.name) for item in self.services}
        return {name: FileView(path) if path else None for name, path in known.items()}

    def observed(self) -> dict[str, Any]:
        """No image, no container."""
        return {}

    def store(self, name: str) -> Store | None:
        """Where a store of this run is."""
        entry = self.stack.stores.get(name, {}).get(self.name)
        return entry and Store(name, entry.kind, self.programs.place(entry.location))

    def place(self, location: str) -> str | None:
        """A path of this run, such as one below `{state}`."""
        return self.programs.place(location)

    def _with_last_log(self, name: str, detail: str) -> str:
        path = self.log_path(name)
        text = tail_lines(path, 20, Redactor(self.secrets.values())) if path else ""
        # Redacted first, cut then: half a secret would not be recognised.
        last = [line for line in text.splitlines() if line.strip()]
        return f"{name} {detail}" + (f": its last log line is: {last[-1][:300]}" if last else "")


def create(stack: Stack, environ: Mapping[str, str] = os.environ) -> ProcessRuntime:
    """The process runtime of a stack.

    Raises:
        ConfigurationError: the stack file has no `runtimes.process`.
    """
    if stack.process is None:
        raise ConfigurationError(f"{stack.file}: expected the section runtimes.process, got none")
    return ProcessRuntime(stack, stack.process, environ)
