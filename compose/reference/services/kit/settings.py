"""What a service is told by its environment, read once at start."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIGURATION_EXIT_CODE = 78

PORTS: Mapping[str, int] = MappingProxyType(
    {
        "gateway": 7000,
        "model-router": 7010,
        "memory-engine": 7020,
        "sessions": 7030,
        "executor": 7040,
        "control-plane": 7050,
        "targets": 7060,
    }
)
# The six that prove something; `targets` stands in for the outside world.
SYSTEM_SERVICES = tuple(name for name in PORTS if name != "targets")

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?")


class SettingsError(Exception):
    """A variable is missing or wrong: "what is wrong: what to do"."""


@dataclass(frozen=True)
class Settings:
    """Everything a service may know about where it runs.

    `allowed_hosts` are `host` or `host:port` entries that fetches may reach;
    `database_url` is this service's own; control-plane and executor share `queue_url`;
    `urls` holds the base URL of every service by name, without a trailing slash.
    """

    service: str
    port: int
    state_folder: Path
    client_token: str = field(repr=False)
    allowed_hosts: tuple[str, ...]
    database_url: str = field(repr=False)
    queue_url: str = field(repr=False)
    urls: Mapping[str, str]

    @classmethod
    def from_environment(cls, service: str, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the settings of `service`.

        Raises:
            SettingsError: a variable is missing or wrong, or there is no such service.
        """
        if service not in PORTS:
            raise SettingsError(f"expected one of {', '.join(PORTS)}, got {service!r}")
        state_folder = Path(_required(environ, "STATE_FOLDER")).resolve()
        return cls(
            service=service,
            port=PORTS[service],
            state_folder=state_folder,
            client_token=_required(environ, "CLIENT_TOKEN"),
            allowed_hosts=_hosts(environ.get("ALLOWED_HOSTS", "")),
            database_url=environ.get("DATABASE_URL") or sqlite_url(state_folder, service),
            queue_url=environ.get("QUEUE_URL") or sqlite_url(state_folder, "queue"),
            urls=MappingProxyType({name: _url(environ, name) for name in PORTS}),
        )

    @property
    def keys_folder(self) -> Path:
        """Where `services.prepare` put the key pair of each service."""
        return self.state_folder / "keys"


def sqlite_url(folder: Path, name: str) -> str:
    """The URL of the embedded database `<name>.db` in `folder`."""
    return f"sqlite:///{(folder / name).as_posix()}.db"


def refuse_start(problem: SettingsError) -> int:
    """Say one clear line on stderr and give the exit code for a bad configuration."""
    print(f"error: {' '.join(str(problem).split())}", file=sys.stderr)
    return CONFIGURATION_EXIT_CODE


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set: start through the runtime, or export it")
    return value


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(entry.strip().lower() for entry in text.split(",") if entry.strip())
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise SettingsError(f"ALLOWED_HOSTS: expected host or host:port, got {host!r}")
    return hosts


def _url(environ: Mapping[str, str], service: str) -> str:
    name = f"{service.upper().replace('-', '_')}_URL"
    value = environ.get(name) or f"http://127.0.0.1:{PORTS[service]}"
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"{name}: expected an http or https URL, got {value!r}")
    return value.rstrip("/")
