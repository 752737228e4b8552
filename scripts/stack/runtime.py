"""What every runtime offers; a new runtime is one module beside this one.

A module or package `stack/<runtime>` has `create(stack, environ) -> Runtime`.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from common.cli import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stack.identity import Identity
    from stack.left_over import Inventory, LeftOver
    from stack.log_views import LogView
    from stack.model import Service, Stack, Store

EXTERNAL = "external"


@dataclass(frozen=True)
class Started:
    """A service that answered its health check; seconds count from the start of all."""

    name: str
    pid: int | None
    healthy: bool
    ready_seconds: float | None


class Runtime(Protocol):
    """The life cycle of a system under proof."""

    name: str
    stack: Stack
    """The stack with its services where this runtime has them."""

    @property
    def services(self) -> tuple[Service, ...]:
        """The services that this runtime answers for."""

    @property
    def secrets(self) -> Mapping[str, str]:
        """The secrets of the stack file: name to value. Never for evidence."""

    def prepare(self) -> None:
        """Build what the services run in, and run the stack's prepare commands."""

    def metadata(self) -> dict[str, Any]:
        """What was built, for container_metadata.json; `summary` is one line for people (H2)."""

    def verify_lock(self) -> dict[str, int] | None:
        """Hold what is installed against its lock: counts of packages and files (H1).

        None where there is no lock to hold it against.

        Raises:
            ScriptError: something differs.
        """

    def import_modules(self) -> int:
        """Import the modules that the stack file names; how many there were (H1)."""

    def start(self) -> Sequence[Started]:
        """Start everything and wait until it is ready, or raise and leave nothing."""

    def restart(self, name: str) -> Started:
        """Start one service again after it ended."""

    def kill(self, name: str) -> None:
        """End one service at once (SIGKILL)."""

    def stop(self) -> Sequence[str] | None:
        """Stop everything; returns a line for each thing that did not end by itself.

        None where nothing was stopped.
        """

    def examine(self) -> Sequence[LeftOver]:
        """Before `stop`: zombies that the running services keep (G1)."""

    def inventory(self) -> Inventory:
        """What there is of this run now, by kind; None for what the runtime can't see (G1)."""

    def state_of(self, name: str) -> str:
        """Whether a service runs, or how it ended, for people."""

    def close(self) -> None:
        """Remove what the runtime keeps beside the evidence: state, logs, records."""

    def log_path(self, name: str) -> Path | None:
        """The file with a service's whole log; None where the runtime can't see it."""

    def identities(self) -> Mapping[str, Identity | None]:
        """Which process or container each service is now; None where that can't be seen."""

    def more_logs(self) -> Mapping[str, Path]:
        """Logs of what runs beside the services of the stack file, by name."""

    def log_views(self) -> Mapping[str, LogView | None]:
        """Every log from now on, while the system runs; None for a service whose log can't be seen.

        Raises:
            ScriptError: a log that should be there can't be read.
        """

    def observed(self) -> dict[str, Any]:
        """After `stop`: `images` and `containers` for the summary, where there are any."""

    def store(self, name: str) -> Store | None:
        """Where a store is, placeholders filled; None where that is not known."""

    def place(self, location: str) -> str | None:
        """A path of the stack file with its placeholders filled; None where it can't be seen."""


def runtime_names() -> frozenset[str]:
    """Every runtime: a module or package beside this one that has `create`."""
    here = Path(__file__).parent
    modules = {path.stem: path for path in here.glob("*.py")}
    modules |= {path.parent.name: path for path in here.glob("*/__init__.py")}
    return frozenset(
        name for name, path in modules.items() if "\ndef create(" in path.read_text("utf-8")
    )


def open_runtime(
    stack: Stack,
    name: str | None = None,
    *,
    state: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Runtime:
    """The runtime to prove a stack with.

    A stack whose workload service is overridden by its URL variable already runs:
    nothing is started (P8).

    Args:
        stack: the loaded stack file.
        name: a runtime of the stack file; default its first.
        state: where the state of a stack that already runs is kept.
        environ: where secrets of a stack that already runs are looked up.

    Raises:
        ConfigurationError: the stack file has no such runtime.
    """
    overridden = [service for service in stack.services if service.overridden]
    if stack.service(stack.workload.service).overridden:
        from stack import external

        if name is not None:
            raise ConfigurationError(
                f"--runtime {name}: nothing is started where {overridden[0].url_env} is set: "
                "unset one of them"
            )
        return external.create(stack, environ, state)
    if overridden:
        wanted = stack.service(stack.workload.service)
        raise ConfigurationError(
            f"{overridden[0].url_env} is set, but not the variable of {wanted.name}, which takes "
            f"the jobs: set {wanted.url_env or 'its url_env'} too, or unset {overridden[0].url_env}"
        )
    if state is not None:
        raise ConfigurationError(
            f"--state {state}: a stack that is started here has a state of its own: leave it out, "
            f"or set {stack.service(stack.workload.service).url_env or 'its url_env'}"
        )
    chosen = name or stack.runtimes[0]
    if chosen not in stack.runtimes:
        known = ", ".join(stack.runtimes)
        raise ConfigurationError(
            f"{stack.file}: expected a runtime of the stack file ({known}), got {chosen!r}"
        )
    module = importlib.import_module(f"stack.{chosen}")
    runtime: Runtime = module.create(stack, environ)
    return runtime
