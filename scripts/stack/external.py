"""A stack that already runs: its services are checked and proven, never started (P8)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError, ScriptError
from stack.health import probe
from stack.identity import Identity, of_listeners
from stack.model import Service, Stack, Store
from stack.placeholders import fill
from stack.records import Record, live_records
from stack.runtime import EXTERNAL, Started
from stack.secret_values import read_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stack.left_over import Inventory, LeftOver
    from stack.log_views import LogView


class ExternalRuntime:
    """Talks to services that somebody else started."""

    name = EXTERNAL

    def __init__(
        self,
        stack: Stack,
        secrets: Mapping[str, str],
        state: Path | None,
        record: Record | None,
        environ: Mapping[str, str],
    ) -> None:
        """Use `create`, which finds the secrets, the state folder and the record."""
        self.stack, self.secrets, self._state = stack, secrets, state
        self._record, self._environ = record, environ

    @property
    def services(self) -> tuple[Service, ...]:
        """The services with an overridden URL; the others may be anywhere."""
        return tuple(item for item in self.stack.services if item.overridden)

    @property
    def state(self) -> Path | None:
        """Its state folder, where that is known."""
        return self._state

    def prepare(self) -> None:
        """Nothing to build."""

    def metadata(self) -> dict[str, Any]:
        """Nothing was built here."""
        return {"kind": EXTERNAL, "summary": "the stack already runs"}

    def verify_lock(self) -> dict[str, int] | None:
        """What a running stack was installed from can't be seen."""
        return None

    def import_modules(self) -> int:
        """Nothing is imported where nothing is started."""
        return 0

    def start(self) -> Sequence[Started]:
        """Check that each service answers.

        Raises:
            ScriptError: a required service does not answer 200.
        """
        return tuple(self._look(service) for service in self.services)

    def _look(self, service: Service) -> Started:
        begun = time.monotonic()
        seen = probe(service.url + service.health)
        if not seen.healthy and service.required:
            got = f"status {seen.status}" if seen.status else seen.error
            raise ScriptError(
                f"{service.name} does not answer at {service.url}{service.health}: "
                f"expected status 200, got {got}: start it, or unset {service.url_env}"
            )
        seconds = time.monotonic() - begun if seen.healthy else None
        return Started(service.name, None, seen.healthy, seconds)

    def restart(self, name: str) -> Started:
        """Refused: whoever started the stack restarts it."""
        raise ScriptError(f"can't restart {name}: the stack was not started by this command")

    def kill(self, name: str) -> None:
        """Refused: whoever started the stack ends it."""
        raise ScriptError(f"can't end {name}: the stack was not started by this command")

    def stop(self) -> None:
        """Leave the stack as it is: what it would leave is not known."""

    def examine(self) -> Sequence[LeftOver]:
        """Its processes can't be seen."""
        return ()

    def inventory(self) -> Inventory:
        """Nothing of it can be seen."""
        return {}

    def state_of(self, _name: str) -> str:
        """Whoever started it knows."""
        return "not started by this command"

    def close(self) -> None:
        """Nothing of ours to remove."""

    def log_path(self, _name: str) -> Path | None:
        """Logs belong to whoever started the stack."""
        return None

    def identities(self) -> dict[str, Identity | None]:
        """The listeners of this machine that answer for the services; others can't be seen."""
        return of_listeners(self.services)

    def more_logs(self) -> dict[str, Path]:
        """No log can be seen."""
        return {}

    def log_views(self) -> dict[str, LogView | None]:
        """No log can be seen."""
        return {item.name: None for item in self.services}

    def observed(self) -> dict[str, Any]:
        """What it runs in can't be seen."""
        return {}

    def store(self, name: str) -> Store | None:
        """Where a store is, if the state folder or the running project is known."""
        places = self.stack.stores.get(name, {})
        runtime = self._record.runtime if self._record else next(iter(places), "")
        entry = places.get(runtime)
        if entry is None or (self._state is None and "{state}" in entry.location):
            return None
        location = fill(entry.location, {"state": self._state, "here": self.stack.here})
        if self._record is None or not self._record.project:
            return Store(name, entry.kind, location)
        from stack.compose.containers import container_of

        environ = {**self._environ, **self._record.engine}
        identity = container_of(environ, self._record.project, location)
        return Store(name, entry.kind, location, identity, environ)

    def place(self, location: str) -> str | None:
        """A path of the running stack, if its state folder is known."""
        if self._state is None and "{state}" in location:
            return None
        return fill(location, {"state": self._state, "here": self.stack.here})


def create(stack: Stack, environ: Mapping[str, str], state: Path | None) -> ExternalRuntime:
    """Find the state folder and the secrets of a running stack.

    The state folder is `--state`, or that of a stack that `run_stack.py` runs now;
    a secret comes from the environment, or from that folder.

    Raises:
        ConfigurationError: `state` is not a folder, or a secret is nowhere.
    """
    if state is not None and not state.is_dir():
        raise ConfigurationError(f"--state: expected a folder, got {state}")
    running = live_records(stack.file)
    folder = state or (Path(running[-1].state) if running else None)
    kept = read_secrets(folder) if folder else {}
    secrets = {name: environ.get(name) or kept.get(name, "") for name in stack.secrets}
    missing = [name for name, value in secrets.items() if not value]
    if missing:
        raise ConfigurationError(
            f"the secret {missing[0]} of the running stack is not known: export {missing[0]}, "
            "or give its state folder as --state"
        )
    known = next((item for item in running if folder and item.state == str(folder)), None)
    return ExternalRuntime(stack, secrets, folder, known, environ)
