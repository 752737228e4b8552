"""The Compose runtime: life cycle with `docker compose`, observation with the Docker SDK."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from common import log
from common.cli import ScriptError, uninterrupted
from evidence.redact import Redactor
from stack import records
from stack.compose import checks, inventory
from stack.compose.build import ComposeBuild
from stack.compose.command import Compose, find_compose
from stack.compose.containers import Listed, list_project
from stack.compose.engine import Engine, ask, connect
from stack.compose.events import EngineEvents
from stack.compose.identities import identities_of
from stack.compose.log_views import ContainerView
from stack.compose.mounts import mounted_at
from stack.compose.secret_files import RemoteSecrets, write_secret_files
from stack.compose.start import ComposeStart, wait_ready
from stack.compose.stop import ComposeStop
from stack.model import Service, Stack, Store
from stack.placeholders import fill
from stack.ports import local_ports
from stack.runtime import Started
from stack.secret_values import choose_secrets, keep_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stack.compose.file import ComposeRuntimeFile
    from stack.identity import Identity
    from stack.left_over import Inventory, LeftOver

# They would change which file, project or profiles our commands mean.
_FOREIGN = ("COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES", "COMPOSE_ENV_FILES")


class ComposeRuntime:
    """One project, new in each run; nothing without its label is ever touched."""

    name = "compose"

    def __init__(self, stack: Stack, plan: ComposeRuntimeFile, environ: Mapping[str, str]) -> None:
        """Make the private state folder and its secrets; the engine is not asked yet."""
        self.secrets = choose_secrets(stack.secrets, environ)
        self.stack = checks.at_engine_host(stack, environ)
        self.record = records.new_record(stack.file, self.name)
        self.state = Path(self.record.state)
        keep_secrets(self.secrets, self.record)
        self.project = f"{stack.name}-{self.record.marker.rpartition('-')[2]}"
        self._plan, self._environ = plan, dict(environ)
        (self.state / "logs").mkdir()
        self._values: dict[str, object] = {
            "here": stack.here,
            "state": self.state,
            "secrets": write_secret_files(self.secrets, Path(self.record.secrets or self.state)),
        }
        self._names = {item.name: plan.services.get(item.name, item.name) for item in self.services}
        self._asked = Counter[str]()
        self._engine: Engine | None = None
        self._end: ComposeStop | None = None
        self._remote: RemoteSecrets | None = None
        self._images: list[dict[str, Any]] = []
        self._in_use = self._lost = False
        self._sees_zombies = True
        self._findings: list[str] = []

    @property
    def services(self) -> tuple[Service, ...]:
        """All services of the stack file, where the engine publishes them."""
        return self.stack.services

    @property
    def engine(self) -> Engine:
        """The engine, connected at first use."""
        if self._engine is None:
            self._engine = connect(self._environ)
        return self._engine

    def prepare(self) -> None:
        """Check the Compose file, its secrets and ports, then build and pull what is missing.

        Raises:
            ScriptError: docker, the engine, the file, a secret, a port or an image: one line.
        """
        self.compose = self._command()
        project, name = self.project, self.stack.name
        self._made = ComposeBuild(self._plan, self.compose, self.engine, project, name)
        self.composed = self._made.read()
        checks.check_names(self.composed, self._names, self._plan.file.name)
        checks.check_secret_files(self.composed, self._plan.file.name)
        self._require_ports()
        self._use()
        self._made.build(self.composed)
        self._images = self._made.images(self.composed)

    def _command(self) -> Compose:
        program = find_compose(self._environ)
        kept = {key: text for key, text in self._environ.items() if key not in _FOREIGN}
        filled = {key: fill(text, self._values) for key, text in self._plan.environment.items()}
        return Compose(
            program,
            self._plan.file,
            self.project,
            self._plan.profiles,
            {**kept, **filled, records.MARKER: self.record.marker},
            self.state / "logs",
            Redactor(self.secrets.values()).text,
        )

    def _require_ports(self) -> None:
        if self.engine.endpoint.local:
            checks.require_free_ports(self.engine, self.composed, self.services)

    def _use(self) -> None:
        """From here on there may be something to take down: note it where a sweep finds it."""
        # The context of the docker configuration may be another one when a sweep comes.
        self.record.engine = self.engine.endpoint.as_variables()
        self.record.project = self.project
        self.record.save()
        self._in_use = True

    def metadata(self) -> dict[str, Any]:
        """Engine, Compose, images with digests, lock."""
        return self._made.metadata(self._images)

    def verify_lock(self) -> dict[str, int] | None:
        """Hold the packages inside the image against the lock (H1)."""
        return self._made.verify_lock(self.composed)

    def import_modules(self) -> int:
        """Import the modules of `runtimes.compose.python.imports` inside the image (H1)."""
        return self._made.import_modules(self.composed)

    def start(self) -> Sequence[Started]:
        """Start the project; returns when each service answers from outside.

        Raises:
            ScriptError: what went wrong first; then everything is down again.
        """
        self._require_ports()
        self._use()
        try:
            self._copy_secrets()
            started = self._start()
            by_name = {item.name: item for item in self.services}
            checks.check_published(self.engine, self.project, by_name, self._names, started)
            checks.check_images(self.engine, self.project, self._images)
        except BaseException:
            for line in self.stop():
                log.warn(line)
            raise
        return started

    def _start(self) -> tuple[Started, ...]:
        events = EngineEvents(self.engine, self.project)
        self._end = self._ending(events)
        events.open()
        common = (self.compose, self.engine, events, self.project, self.services, self._names)
        return ComposeStart(*common, self.compose.clean).run()

    def _ending(self, events: EngineEvents) -> ComposeStop:
        common = (self.compose, self.engine, events, self.project, self.services, self._names)
        return ComposeStop(*common, self.composed, self.state / "logs", self._asked)

    def _copy_secrets(self) -> None:
        if self.engine.endpoint.local or not self.secrets:
            return
        image = self.composed.image_of(self._names[self.services[0].name])
        self._remote = RemoteSecrets(self.engine, image, self.project)
        self._remote.copy(Path(str(self._values["secrets"])))

    def _listed(self, name: str) -> Listed:
        wanted = self._names.get(name, name)
        for item in list_project(self.engine, self.project):
            if item.service == wanted:
                return item
        raise ScriptError(f"{name} has no container in the project {self.project}")

    def restart(self, name: str) -> Started:
        """Start a service's container again after it ended, and wait until it is ready.

        Raises:
            ScriptError: it still runs, or does not get ready.
        """
        found = self._listed(name)
        if found.running:
            raise ScriptError(f"can't restart {name}: it still runs: end it first")
        begun = time.monotonic()
        self._asked[found.id] += 1
        ask(lambda: self.engine.api.start(found.id))
        wait_ready(self.engine, self.project, self._names[name], self.stack.service(name))
        seconds = time.monotonic() - begun
        return Started(name, None, healthy=True, ready_seconds=seconds)

    def kill(self, name: str) -> None:
        """SIGKILL the main process of a container; the engine does not start it again."""
        found = self._listed(name)
        ask(lambda: self.engine.api.kill(found.id))

    def pause(self, name: str) -> None:
        """Freeze every process of a container."""
        found = self._listed(name)
        ask(lambda: self.engine.api.pause(found.id))

    def unpause(self, name: str) -> None:
        """Let a paused container go on."""
        found = self._listed(name)
        ask(lambda: self.engine.api.unpause(found.id))

    def stop(self) -> Sequence[str]:
        """Keep logs and facts, take the project down; a line for all that did not end well.

        Lines of an earlier stop, such as that of a start that failed, are said again.
        """
        if self._in_use:
            with uninterrupted():
                self._findings += self._take_down()
            self._in_use = False
        return tuple(dict.fromkeys(self._findings))

    def _take_down(self) -> list[str]:
        findings: list[str] = []
        if self._end is None:
            self._end = self._ending(EngineEvents(self.engine, self.project))
        try:
            findings += self._end.observe()
        except ScriptError as problem:
            findings.append(f"the containers can't be looked at: {problem}")
        try:
            findings += self._end.down()
            self._lost = self._end.stays
        except ScriptError as problem:
            self._lost = True
            findings.append(
                f"left over: the project {self.project}: {problem}; the next command removes it"
            )
        self._end.events.close()
        if self._remote and (line := self._remote.remove()):
            findings.append(line)
        return findings

    def examine(self) -> Sequence[LeftOver]:
        """Zombies inside the running containers (G1)."""
        found = inventory.zombies(self.engine, list_project(self.engine, self.project))
        self._sees_zombies = self._sees_zombies and found is not None
        return found or ()

    def inventory(self) -> Inventory:
        """What the engine has of this project now (G1)."""
        ports = local_ports(self.services)
        found = inventory.take_inventory(self.engine, self.project, ports)
        # They end with their container; whether there were some is asked while it runs.
        return found | {"zombies": frozenset() if self._sees_zombies else None}

    def state_of(self, name: str) -> str:
        """The state of a service's container, as `docker ps` says it."""
        return self._listed(name).status

    def close(self) -> None:
        """Remove state and secrets; forget the run, unless its project could not be removed."""
        self.record.remove_folders()
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        if not self._lost:
            self.record.remove()

    def observed(self) -> dict[str, Any]:
        """Images and containers for the summary; containers as they were before the stop."""
        rows = self._end.containers if self._end else ()
        return {
            "images": [{key: row[key] for key in ("reference", "id")} for row in self._images],
            "containers": [row.as_json() for row in rows],
        }

    def log_path(self, name: str) -> Path | None:
        """The whole log of a service, kept when it was stopped."""
        files = self._end.log_files if self._end else {}
        return files.get(self._names.get(name, name))

    def identities(self) -> dict[str, Identity | None]:
        """The container of each service; a name without one can't be seen."""
        known = identities_of(self.engine, self.project, self._names)
        return {name: known.get(name) for name in self._names}

    def more_logs(self) -> dict[str, Path]:
        """Logs of the containers that the stack file does not name: databases, tasks."""
        files = self._end.log_files if self._end else {}
        known = set(self._names.values())
        return {name: path for name, path in files.items() if name not in known}

    def log_views(self) -> dict[str, ContainerView | None]:
        """The containers' logs from now on, also of those beside the services."""
        names = {inner: name for name, inner in self._names.items()}
        views: dict[str, ContainerView | None] = dict.fromkeys(self._names)
        for item in list_project(self.engine, self.project):
            views[names.get(item.service, item.service)] = ContainerView(self.engine, item)
        return views

    def store(self, name: str) -> Store | None:
        """Where a store of this run is; a database is asked inside its own container."""
        entry = self.stack.stores.get(name, {}).get(self.name)
        if entry is None:
            return None
        location = fill(entry.location, self._values)
        host = urlsplit(location).hostname or ""
        return Store(
            name, entry.kind, location, self._container_of(entry.kind, host), self._environ
        )

    def place(self, location: str) -> str | None:
        """Where `COMPOSE-SERVICE:/path` is on this machine; None where it is no mount seen here."""
        service, _, inside = location.partition(":")
        known = {item.service: item.id for item in list_project(self.engine, self.project)}
        if not inside.startswith("/"):
            return fill(location, self._values)
        return mounted_at(self.engine, known[service], inside) if service in known else None

    def _container_of(self, kind: str, host: str) -> str:
        if kind in {"sqlite", "directory"}:
            return ""
        known = {item.service: item.id for item in list_project(self.engine, self.project)}
        return known.get(host, "")
