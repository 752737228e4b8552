"""What a service is told by its environment, read once at start."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self
from urllib.parse import unquote, urlsplit

from services.kit import environment
from services.kit.environment import SettingsError
from services.kit.ports import PORTS, SYSTEM_SERVICES

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PORTS", "SYSTEM_SERVICES", "Settings", "SettingsError", "refuse_start", "sqlite_url"]

CONFIGURATION_EXIT_CODE = 78
LEEWAY_SECONDS = 5.0
# A leeway as long as the lifetime would double the time in which a token is good.
LONGEST_LEEWAY_SECONDS = 30.0
DATABASE_SCHEMES = ("sqlite", "postgresql+psycopg")
QUEUE_SCHEMES = ("sqlite", "redis", "rediss")
# Who checks the client token; nobody else has to know it.
CLIENT_SERVICES = frozenset(
    {"gateway", "control-plane", "memory-engine", "model-router", "executor"}
)


@dataclass(frozen=True)
class Settings:
    """Everything a service may know about where it runs.

    `allowed_hosts` are `host` or `host:port` entries that fetches may reach, and
    `connect_to` says where a connection to some `host:port` really goes;
    `database_url` is this service's own, or one that all share (their tables have
    different names); control-plane and executor share `queue_url`; both hold their
    passwords; `client_token` is "" where a service is not told it, and then opens nothing;
    `keys_folder` is where `services.prepare` put everybody's public keys and this service's
    private one; `urls` holds the base URL of every service by name, without a trailing
    slash; `policies_folder` is where its tool policies are, of which `policy_sha256` pins one
    ("" for any that is approved); `token_leeway_seconds` is by how much the callers' clocks may differ.
    """

    service: str
    port: int
    listen_host: str
    state_folder: Path
    keys_folder: Path
    policies_folder: Path
    policy_sha256: str
    client_token: str = field(repr=False)
    allowed_hosts: tuple[str, ...]
    connect_to: Mapping[str, str]
    database_url: str = field(repr=False)
    queue_url: str = field(repr=False)
    urls: Mapping[str, str]
    token_leeway_seconds: float = LEEWAY_SECONDS

    @classmethod
    def from_environment(cls, service: str, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the settings of `service`.

        Raises:
            SettingsError: a variable is missing or wrong, or there is no such service.
        """
        if service not in PORTS:
            raise SettingsError(f"expected one of {', '.join(PORTS)}, got {service!r}")
        read_token = environment.required if service in CLIENT_SERVICES else environment.secret
        return cls(
            service=service,
            port=PORTS[service],
            listen_host=environment.listen_host(environ, "LISTEN_HOST"),
            state_folder=_state_folder(environ),
            keys_folder=find_keys_folder(environ),
            policies_folder=find_policies_folder(environ),
            policy_sha256=environ.get("POLICY_SHA256", "").strip(),
            client_token=read_token(environ, "CLIENT_TOKEN"),
            allowed_hosts=environment.hosts(environ, "ALLOWED_HOSTS"),
            connect_to=environment.routes(environ, "CONNECT_TO"),
            database_url=find_database_url(environ, service),
            queue_url=find_queue_url(environ),
            urls=MappingProxyType({name: _url(environ, name) for name in PORTS}),
            token_leeway_seconds=environment.seconds(
                environ, "TOKEN_LEEWAY_SECONDS", LEEWAY_SECONDS, LONGEST_LEEWAY_SECONDS
            ),
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never stand in a log: the client token and the servers' passwords."""
        coded = [urlsplit(url).password or "" for url in (self.database_url, self.queue_url)]
        found = {self.client_token, *coded, *map(unquote, coded)}
        return tuple(sorted(found - {""}))


def find_keys_folder(environ: Mapping[str, str]) -> Path:
    """Where the key pairs are: KEYS_FOLDER, or a folder of the state folder.

    Raises:
        SettingsError: STATE_FOLDER is not set.
    """
    folder = environ.get("KEYS_FOLDER", "").strip()
    return (Path(folder) if folder else _state_folder(environ) / "keys").resolve()


def find_policies_folder(environ: Mapping[str, str]) -> Path:
    """Where the tool policies are: POLICIES_FOLDER, or a folder of the state folder.

    Raises:
        SettingsError: STATE_FOLDER is not set.
    """
    folder = environ.get("POLICIES_FOLDER", "").strip()
    return (Path(folder) if folder else _state_folder(environ) / "policies").resolve()


def find_database_url(environ: Mapping[str, str], service: str) -> str:
    """The database of one service, with its password: the server's, or a file of its own.

    Raises:
        SettingsError: DATABASE_URL, its password or STATE_FOLDER is missing or wrong.
    """
    url = environment.server_url(environ, "DATABASE", DATABASE_SCHEMES)
    return url or sqlite_url(_state_folder(environ), service)


def find_queue_url(environ: Mapping[str, str]) -> str:
    """The queue, with its password: the server's, or a file.

    Raises:
        SettingsError: QUEUE_URL, its password or STATE_FOLDER is missing or wrong.
    """
    url = environment.server_url(environ, "QUEUE", QUEUE_SCHEMES)
    return url or sqlite_url(_state_folder(environ), "queue")


def sqlite_url(folder: Path, name: str) -> str:
    """The URL of the embedded database `<name>.db` in `folder`."""
    return f"sqlite:///{(folder / name).as_posix()}.db"


def refuse_start(problem: SettingsError) -> int:
    """Say one clear line on stderr and give the exit code for a bad configuration."""
    print(f"error: {' '.join(str(problem).split())}", file=sys.stderr)
    return CONFIGURATION_EXIT_CODE


def _state_folder(environ: Mapping[str, str]) -> Path:
    return Path(_required(environ, "STATE_FOLDER")).resolve()


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set: start through the runtime, or export it")
    return value


def _url(environ: Mapping[str, str], service: str) -> str:
    name = f"{service.upper().replace('-', '_')}_URL"
    return environment.http_url(environ, name, f"http://127.0.0.1:{PORTS[service]}")
