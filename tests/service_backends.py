"""What services under test keep their data in: embedded files, or real servers.

Each test gets a database of its own and an empty queue.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service_servers import Servers

    from services.kit.settings import Settings

# The back ends of a test module: `BACKENDS = BOTH`.
BOTH = ("embedded", "servers")
_servers = pytest.param("servers", marks=pytest.mark.docker)
servers_only = pytest.mark.parametrize("backend", [_servers], indirect=True)
embedded_only = pytest.mark.parametrize("backend", ["embedded"], indirect=True)


@dataclass(frozen=True)
class Queued:
    """A message in the queue, as seen from behind."""

    job_id: str
    priority: str
    body: str
    deliveries: int


@dataclass(frozen=True)
class Backend:
    """Where the databases and the queue of one test are, and what is in them."""

    environ: Mapping[str, str]
    servers: Servers | None = None

    def settings(self, service: str) -> Settings:
        """What a service is told about where it runs."""
        from services.kit.settings import Settings

        return Settings.from_environment(service, self.environ)

    def sql(self, database: str, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """Run one statement in a service's database, committed; the rows it gives."""
        from sqlalchemy import create_engine, text

        in_queue = database == "queue"
        settings = self.settings("control-plane" if in_queue else database)
        engine = create_engine(settings.queue_url if in_queue else settings.database_url)
        try:
            with engine.begin() as connection:
                result = connection.execute(text(statement), values)
                return [tuple(row) for row in result] if result.returns_rows else []
        finally:
            engine.dispose()

    def queued(self) -> list[Queued]:
        """The messages that wait or are leased, by priority and in the order of publishing."""
        if self.servers is None:
            query = (
                "SELECT job_id, priority, body, deliveries FROM messages ORDER BY 2 DESC, sequence"
            )
            names = ("low", "normal", "high")
            return [
                Queued(job_id, names[priority], body, deliveries)
                for job_id, priority, body, deliveries in self.sql("queue", query)
            ]
        return [
            message for name in ("high", "normal", "low") for message in _stream(self.servers, name)
        ]

    def lose_queue(self) -> None:
        """Take all messages away behind the services' back."""
        if self.servers is None:
            self.sql("queue", "DELETE FROM messages")
        else:
            self.servers.command("FLUSHALL")

    def hand_over(self, job_id: str, deliveries: int) -> None:
        """Let somebody else have a leased message."""
        if self.servers is None:
            change = "UPDATE messages SET receipt = 'another', deliveries = :n WHERE job_id = :id"
            self.sql("queue", change, n=deliveries, id=job_id)
            return
        number, entry = self.servers.command("HGET", "jobs:ids", job_id).split()
        stream = f"jobs:stream:{('high', 'normal', 'low')[int(number) - 1]}"
        self.servers.command(
            "XCLAIM", stream, "executors", "another", 0, entry, "RETRYCOUNT", deliveries, "JUSTID"
        )

    def end_leases(self) -> None:
        """Let the lease of every message end now."""
        if self.servers is None:
            self.sql("queue", "UPDATE messages SET leased_until = 0")
            return
        self.pass_time(3600.0)

    def pass_time(self, seconds: float) -> None:
        """Let Redis believe that every leased message was touched so much earlier."""
        assert self.servers is not None
        for name in ("high", "normal", "low"):
            stream = f"jobs:stream:{name}"
            for row in self.servers.pending(stream):
                idle = row["time_since_delivered"] + round(seconds * 1000)
                self.servers.command(
                    "XCLAIM", stream, "executors", row["consumer"], 0, row["message_id"],
                    "IDLE", idle, "JUSTID",
                )  # fmt: skip

    def dead(self) -> list[tuple[str, str]]:
        """Job id and reason of the messages that were put aside."""
        if self.servers is None:
            found = self.sql("queue", "SELECT job_id, reason FROM dead_messages")
            return [(row[0], row[1]) for row in found]
        entries = self.servers.command("XRANGE", "jobs:dead", "-", "+")
        return [(row["job_id"], row["reason"]) for row in map(_fields, entries)]

    def publish(self, *messages: Any) -> None:
        """Put messages into the queue from outside."""
        from services.queue import open_queue

        async def send() -> None:
            queue = open_queue(self.settings("executor").queue_url)
            await queue.publish(messages)
            await queue.close()

        asyncio.run(send())


def _stream(servers: Servers, priority: str) -> list[Queued]:
    stream = f"jobs:stream:{priority}"
    pending = servers.pending(stream)
    deliveries = {row["message_id"]: row["times_delivered"] for row in pending}
    return [
        Queued(row["job_id"], priority, row["body"], deliveries.get(entry[0], 0))
        for entry in servers.command("XRANGE", stream, "-", "+")
        for row in [_fields(entry)]
    ]


def _fields(entry: Any) -> dict[str, str]:
    fields: dict[str, str] = entry[1]
    return fields
