"""The system while it runs: what it answers to a foreign page, where its files and secrets are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stack.compose.engine import Engine
    from stack.model import Service, Stack
    from stack.runtime import Runtime

_SECONDS = 5.0


@dataclass(frozen=True)
class Answer:
    """An answer to a foreign page; `headers` is None where there was none."""

    method: str
    path: str
    headers: Mapping[str, str] | None
    error: str = ""


@dataclass(frozen=True)
class Live:
    """A running system.

    Args:
        services: where they answer.
        secrets: the values of this run.
        paths: of each service, those that a page may ask.
        state: its state folder.
        secrets_folder: where its secrets are kept in memory.
        engine: None where it does not run in containers.
        project: the Compose project.
    """

    services: tuple[Service, ...]
    secrets: Mapping[str, str] = field(repr=False)
    paths: Mapping[str, Sequence[str]]
    state: Path | None = None
    secrets_folder: Path | None = None
    engine: Engine | None = None
    project: str = ""

    @property
    def has_containers(self) -> bool:
        """Whether it runs in containers of an engine that we reach."""
        return self.engine is not None

    def ask_as_page(self, service: Service, origin: str) -> Iterator[Answer]:
        """Ask a service as a browser does for a page of another origin, with a preflight."""
        wish = {"Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization"}  # fmt: skip
        for path in self.paths.get(service.name, ()):
            yield _ask("GET", service.url, path, {"Origin": origin, "Cookie": "session=1"})
            yield _ask("OPTIONS", service.url, path, {"Origin": origin, **wish})

    def modes_in(self, service: str, path: str) -> dict[str, int]:
        """Modes of files inside the container of a Compose service.

        Raises:
            ScriptError: no such container or file.
        """
        from stack.compose.modes import modes_in

        known = self._containers()
        if service not in known:
            names = ", ".join(known) or "none"
            raise ConfigurationError(f"expected a container of {service} ({names}), got none")
        assert self.engine is not None  # noqa: S101 - it has containers
        return modes_in(self.engine, known[service], path)

    def container_settings(self) -> dict[str, str]:
        """What the engine keeps of each container on its disk, as one text each."""
        from stack.compose.containers import inspect

        engine = self.engine
        assert engine is not None  # noqa: S101 - it has containers
        return {
            name: json.dumps(inspect(engine, identity), ensure_ascii=False)
            for name, identity in self._containers().items()
        }

    def _containers(self) -> dict[str, str]:
        from stack.compose.containers import list_project

        assert self.engine is not None  # noqa: S101 - it has containers
        return {item.service: item.id for item in list_project(self.engine, self.project)}


def of_runtime(runtime: Runtime) -> Live:
    """The system that a runtime has started."""
    from stack.secret_place import find_place

    state: Path | None = getattr(runtime, "state", None)
    return Live(
        runtime.services,
        runtime.secrets,
        pages_of(runtime.stack),
        state,
        find_place(state) if state else None,
        getattr(runtime, "engine", None),
        getattr(runtime, "project", ""),
    )


def of_running(stack: Stack, environ: Mapping[str, str]) -> tuple[Live, str]:
    """The system that `run_stack.py` runs now, and its runtime.

    Raises:
        ConfigurationError: none runs.
    """
    from stack.records import live_records
    from stack.secret_place import find_place
    from stack.secret_values import read_secrets

    records = live_records(stack.file)
    if not records:
        raise ConfigurationError(
            f"expected a running system of {stack.file.name}, got none: start it with "
            "`python scripts/run_stack.py`"
        )
    record = records[-1]
    engine = None
    if record.project:
        from stack.compose.engine import connect

        engine = connect({**environ, **record.engine})
    state = Path(record.state)
    secrets, place = read_secrets(state), find_place(state)
    live = Live(stack.services, secrets, pages_of(stack), state, place, engine, record.project)
    return live, record.runtime


def pages_of(stack: Stack) -> dict[str, list[str]]:
    """Paths of each service that the stack file names."""
    found: dict[str, list[str]] = {item.name: [item.health, item.ready] for item in stack.services}
    found[stack.workload.service].append(stack.workload.submit_path)
    for golden in stack.golden:
        found[golden.service].append(golden.path)
    return {name: [*dict.fromkeys(paths)] for name, paths in found.items()}


def _ask(method: str, url: str, path: str, headers: Mapping[str, str]) -> Answer:
    import requests

    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the user is not the service
            call: Any = session.request(
                method,
                url + path,
                headers=dict(headers),
                timeout=_SECONDS,
                allow_redirects=False,
                stream=True,
            )
            with call:
                return Answer(method, path, dict(call.headers))
    except (requests.RequestException, OSError) as problem:
        return Answer(method, path, None, type(problem).__name__)
