"""The queue of several machines: Redis Streams, one per priority, read by one consumer group.

Each operation is one Lua script in `scripts/`, because only a script is atomic: a message
and the note that its job is queued come and go together, and a lease is checked in the
moment in which it is used. A lease is a pending entry that was touched less than
LEASE_SECONDS ago; its receipt names consumer, entry and delivery count.

Redis may lose what it answered (a restart without its append-only file, FLUSHALL): that
is noticed by the control-plane's outbox, which compares the length with its open jobs.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

from services.queue.protocol import (
    LEASE_SECONDS,
    Message,
    NewMessage,
    QueueFullError,
    QueueUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

MOST_MESSAGES = 10_000
DEAD_KEPT = 1_000
GROUP = "executors"
PRIORITIES = ("high", "normal", "low")
STREAMS = tuple(f"jobs:stream:{priority}" for priority in PRIORITIES)
IDS = "jobs:ids"
DEAD = "jobs:dead"
_READY = "jobs:ready"
_READY_SECONDS = 60
_SCRIPTS = Path(__file__).parent / "scripts"
_TIMEOUT_SECONDS = 3.0
_CONNECT_SECONDS = 2.0
_HEALTH_SECONDS = 15
_RETRIES = 2
_CONNECTIONS = 16
# A consumer that asks nothing for an hour is that of a process that was killed.
_GONE_MILLISECONDS = 3_600_000


class RedisQueue:
    """`Queue` over Redis 6.2 or newer; one consumer per object."""

    def __init__(self, url: str) -> None:
        """Take the server at `url`; nothing is opened before the first use."""
        self._client = _client(url)
        # A process id alone comes again in every container.
        self._consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        publish, claim, settle, depart = (
            self._client.register_script((_SCRIPTS / f"{name}.lua").read_text("utf-8"))
            for name in ("publish", "claim", "settle", "depart")
        )
        self._publish, self._claim, self._settle, self._depart = publish, claim, settle, depart

    async def publish(self, messages: Sequence[NewMessage]) -> None:
        """Put messages in, all of them or, where the queue is full, none."""
        arguments: list[str | int] = [MOST_MESSAGES]
        for message in messages:
            number = PRIORITIES.index(message.priority) + 1
            arguments += [number, message.job_id, json.dumps(dict(message.body))]
        async with _clear_errors():
            added = await self._publish(keys=[*STREAMS, IDS], args=arguments)
        if added < 0:
            raise QueueFullError(f"expected at most {MOST_MESSAGES} messages, got more: wait")

    async def claim(self, count: int) -> Sequence[Message]:
        """Lease up to `count` messages in one round trip."""
        arguments: list[str | int] = [GROUP, self._consumer, count, _milliseconds(LEASE_SECONDS)]
        async with _clear_errors():
            found = await self._claim(keys=STREAMS, args=arguments)
        return [self._message(*values) for values in found]

    async def extend(self, message: Message) -> bool:
        """Start the lease anew."""
        return await self._settled("extend", message)

    async def release(self, message: Message) -> bool:
        """Give the lease back."""
        return await self._settled("release", message)

    async def acknowledge(self, message: Message) -> bool:
        """Remove the message, and forget its job."""
        return await self._settled("acknowledge", message)

    async def dead(self, message: Message, reason: str) -> bool:
        """Move the message to the stream of the dead."""
        body = json.dumps(dict(message.body))
        more: list[str | int] = [body, reason[:500], _milliseconds(time.time()), DEAD_KEPT]
        return await self._settled("bury", message, *more)

    async def length(self) -> int:
        """How many messages wait or are leased."""
        async with _clear_errors(), self._client.pipeline(transaction=True) as pipeline:
            for stream in STREAMS:
                pipeline.xlen(stream)
            return sum(await pipeline.execute())

    async def ready(self) -> None:
        """Raise where the server can't be reached or takes no writes."""
        async with _clear_errors():
            await self._client.set(_READY, self._consumer, ex=_READY_SECONDS)

    async def close(self) -> None:
        """Let go of the connections; a consumer that holds nothing is forgotten."""
        try:
            async with _clear_errors():
                await self._depart(keys=STREAMS, args=[GROUP, self._consumer, _GONE_MILLISECONDS])
        except QueueUnavailableError:
            pass  # whoever departs later tidies up
        finally:
            await self._client.aclose()

    def _message(self, number: int, entry: str, deliveries: int, job_id: str, body: str) -> Message:
        receipt = f"{self._consumer} {number} {entry} {deliveries}"
        return Message(job_id, json.loads(body), receipt, deliveries)

    async def _settled(self, action: str, message: Message, *more: str | int) -> bool:
        consumer, number, entry, deliveries = message.receipt.split(" ")
        keys = [STREAMS[int(number) - 1], IDS, DEAD]
        arguments = [action, GROUP, consumer, entry, deliveries, message.job_id, *more]
        async with _clear_errors():
            return bool(await self._settle(keys=keys, args=arguments))


def _client(url: str) -> Redis:
    # Every script may be sent twice: what is done already changes nothing, and messages
    # that were claimed for an answer that got lost come back when their lease ends.
    pauses: Any = ExponentialBackoff(cap=0.5, base=0.05)
    client: Redis = Redis.from_url(
        url,
        decode_responses=True,
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_CONNECT_SECONDS,
        health_check_interval=_HEALTH_SECONDS,
        max_connections=_CONNECTIONS,
        retry=Retry(pauses, _RETRIES, (exceptions.ConnectionError, exceptions.TimeoutError)),
        client_name="proof-pack",
    )
    return client


@asynccontextmanager
async def _clear_errors() -> AsyncIterator[None]:
    """The client's errors as one clear line each."""
    try:
        yield
    except exceptions.AuthenticationError as problem:
        raise QueueUnavailableError(
            f"the queue refuses the password ({problem}): check QUEUE_PASSWORD"
        ) from problem
    except (exceptions.RedisError, OSError) as problem:
        reason = str(problem) or type(problem).__name__
        if reason.startswith("NOAUTH"):
            raise QueueUnavailableError(
                "the queue wants a password: set QUEUE_PASSWORD"
            ) from problem
        raise QueueUnavailableError(f"the queue does not serve: {reason}") from problem


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
