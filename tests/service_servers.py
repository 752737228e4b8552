"""A real PostgreSQL and a real Redis in containers of their own, for one test run.

Both are removed at the end, with their volumes, also where tests fail.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from docker.models.containers import Container

PASSWORD = "password-of-the-tests/with:odd@signs"
START_SECONDS = 60.0
_IMAGES = {
    "postgres": os.environ.get("POSTGRES_IMAGE", "postgres:17"),
    "redis": os.environ.get("REDIS_IMAGE", "redis:8"),
}
# The tests kill servers, not machines: what the kernel has is not lost.
_POSTGRES_COMMAND = ["postgres", "-c", "fsync=off", "-c", "full_page_writes=off"]
_REDIS_COMMAND = ["redis-server", "--requirepass", PASSWORD, "--appendonly", "yes"]


@dataclass(frozen=True)
class Server:
    """A server in a container, on a loopback port that stays the same over restarts."""

    container: Container
    port: int

    def restart(self) -> None:
        """Stop it the polite way and start it again."""
        self.container.restart(timeout=10)

    def kill(self) -> None:
        """Stop it the rude way and start it again."""
        self.container.kill()
        self.container.start()


@dataclass(frozen=True)
class Servers:
    """One PostgreSQL and one Redis."""

    postgres: Server
    redis: Server

    def environ(self, database: str = "proof", password: str = PASSWORD) -> dict[str, str]:
        """The variables under which the services find them."""
        return {
            "DATABASE_URL": f"postgresql+psycopg://proof@127.0.0.1:{self.postgres.port}/{database}",
            "DATABASE_PASSWORD": password,
            "QUEUE_URL": f"redis://127.0.0.1:{self.redis.port}/0",
            "QUEUE_PASSWORD": password,
        }

    def administer(self, statement: str) -> None:
        """Run a statement that wants no transaction, in the first database."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self.postgres.port, user="proof", dbname="proof",
            password=PASSWORD, autocommit=True, connect_timeout=3,
        ) as connection:  # fmt: skip
            connection.execute(statement.encode())

    def command(self, *words: str | int, **options: object) -> Any:
        """Send one command to Redis; the options are for the reader of the answer."""
        from redis import Redis

        with closing(
            Redis(port=self.redis.port, password=PASSWORD, decode_responses=True)
        ) as client:
            return client.execute_command(*words, **options)  # type: ignore[no-untyped-call]

    def pending(self, stream: str) -> list[dict[str, Any]]:
        """The leased messages of a stream, if there is such a stream."""
        if not self.command("EXISTS", stream) or not self.command("XINFO", "GROUPS", stream):
            return []
        words = ("XPENDING", stream, "executors", "-", "+", 10_000)
        found: list[dict[str, Any]] = self.command(*words, parse_detail=True)
        return found

    @contextmanager
    def own_database(self, template: str) -> Iterator[str]:
        """A copy of the database `template`, gone afterwards."""
        name = f"test_{secrets.token_hex(6)}"
        self.administer(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield name
        finally:
            self.until_ready()
            self.administer(f"DROP DATABASE {name} WITH (FORCE)")

    def until_ready(self) -> None:
        """Wait until both answer."""
        _until(lambda: self.administer("SELECT 1"))
        _until(lambda: self.command("PING"))


@contextmanager
def running_servers() -> Iterator[Servers]:
    """Start both servers; remove them with their volumes at the end."""
    postgres_environ = {
        "POSTGRES_USER": "proof", "POSTGRES_DB": "proof", "POSTGRES_PASSWORD": PASSWORD,
    }  # fmt: skip
    with (
        _container("postgres", 5432, _POSTGRES_COMMAND, postgres_environ) as postgres,
        _container("redis", 6379, _REDIS_COMMAND, {}) as redis,
    ):
        servers = Servers(postgres, redis)
        servers.until_ready()
        yield servers


@contextmanager
def _container(
    kind: str, inner_port: int, command: list[str], environ: Mapping[str, str]
) -> Iterator[Server]:
    import docker

    client = docker.from_env()
    port = _free_port()
    container = client.containers.create(
        _IMAGES[kind],
        command,
        name=f"proof-pack-tests-{kind}-{secrets.token_hex(4)}",
        environment=dict(environ),
        ports={f"{inner_port}/tcp": ("127.0.0.1", port)},
    )
    try:
        container.start()
        yield Server(container, port)
    finally:
        container.remove(force=True, v=True)
        client.close()


def _free_port() -> int:
    # Chosen here and not by Docker, which chooses another one at every restart.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _until(works: Callable[[], object]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            works()
        except Exception:  # whatever it is: the last one is raised
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
