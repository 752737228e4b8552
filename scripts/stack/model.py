"""The stack file as frozen dataclasses: all that scripts may know about a system."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from security.model import Security
    from stack.compose.file import ComposeRuntimeFile
    from stack.file_modes import FileMode
    from stack.packer import Packer
    from traffic.model import Profile


@dataclass(frozen=True)
class Service:
    """One service: where it answers and what it needs before it can start.

    `url` is already the effective one: `url_env` overrides it (P8). Times in seconds.
    Any page of the web may call a `public` one.
    """

    name: str
    url: str
    health: str = "/healthz"
    ready: str = "/readyz"
    url_env: str | None = None
    role: str = "system"
    required: bool = True
    depends_on: tuple[str, ...] = ()
    start_seconds: float = 30.0
    stop_seconds: float = 5.0
    overridden: bool = False
    public: bool = False


@dataclass(frozen=True)
class ServiceProcess:
    """How the process runtime starts one service; texts still hold their placeholders."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str | None = None


@dataclass(frozen=True)
class ProcessRuntimeFile:
    """The `runtimes.process` section."""

    services: Mapping[str, ServiceProcess]
    requirements: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    prepare: tuple[tuple[str, ...], ...] = ()
    imports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Store:
    """Where one runtime keeps a store.

    In the stack file `location` holds placeholders. For a store inside a container,
    `container` is its id and `environ` chooses the engine.
    """

    name: str
    kind: str
    location: str
    container: str = ""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Target:
    """Something that a job works on."""

    name: str
    url: str


@dataclass(frozen=True)
class Workload:
    """How a job is submitted, polled and found again in the store.

    Pointers are JSON Pointers (RFC 6901) into the answers.
    """

    service: str
    headers: Mapping[str, str]
    submit_method: str
    submit_path: str
    submit_body: Mapping[str, Any]
    job_id: str
    idempotency_header: str | None
    poll_path: str
    poll_status: str
    poll_digest: str | None
    poll_error: str | None
    completed: tuple[str, ...]
    failed: tuple[str, ...]
    strategies: tuple[str, ...]
    priorities: tuple[str, ...]
    targets: Mapping[str, tuple[Target, ...]]
    store: str
    store_query: str
    store_compare: str
    memory_service: str | None
    memory_path: str | None
    memory_digest: str | None


@dataclass(frozen=True)
class Golden:
    """One golden request and the answer it must give."""

    name: str
    service: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any] | None
    expect_status: int
    expect_json: Mapping[str, Any]
    expect_contains: tuple[str, ...]


@dataclass(frozen=True)
class Stack:
    """A checked stack file."""

    file: Path
    sha256: str
    name: str
    description: str
    services: tuple[Service, ...]
    runtimes: tuple[str, ...]
    process: ProcessRuntimeFile | None
    compose: ComposeRuntimeFile | None
    secrets: tuple[str, ...]
    required_env: tuple[str, ...]
    stores: Mapping[str, Mapping[str, Store]]
    workload: Workload
    golden: tuple[Golden, ...]
    pack: Packer | None = None
    traffic: tuple[Profile, ...] = ()
    file_modes: tuple[FileMode, ...] = ()
    security: Security | None = None

    @property
    def here(self) -> Path:
        """The folder of the stack file: what relative paths in it start from."""
        return self.file.parent

    def service(self, name: str) -> Service:
        """The service of that name; the loader made sure that it exists."""
        return next(item for item in self.services if item.name == name)
