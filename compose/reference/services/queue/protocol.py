"""What a queue must do, fit for SQLite and for Redis Streams.

Delivery is at least once: a message comes back when its lease ends. What makes a job
happen exactly once is not the queue but the stores behind it, which accept the first
result and the first outcome only. `deliveries` therefore says how often a message was
handed out, not how often its job was executed: that is counted by control-plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEASE_SECONDS = 5.0

Priority = Literal["low", "normal", "high"]


@dataclass(frozen=True)
class NewMessage:
    """A job on its way into the queue. Its id names it: publishing it again changes nothing."""

    job_id: str
    priority: Priority
    body: Mapping[str, str]


@dataclass(frozen=True)
class Message:
    """A message leased to one consumer, proven by its receipt."""

    job_id: str
    body: Mapping[str, str]
    receipt: str
    deliveries: int


class QueueFullError(Exception):
    """The queue takes no more messages now; nothing of what was published is in it."""


class QueueUnavailableError(Exception):
    """The queue can't be used now; one line that says why."""


class Queue(Protocol):
    """A queue of jobs: high before normal before low, then in the order of publishing."""

    async def publish(self, messages: Sequence[NewMessage]) -> None:
        """Put messages in durably; one whose job is already waiting or leased is left alone.

        Raises:
            QueueFullError: the queue is bounded, and full: publish again later.
        """
        ...

    async def claim(self, count: int) -> Sequence[Message]:
        """Lease up to `count` waiting messages, those whose lease has ended included."""
        ...

    async def extend(self, message: Message) -> bool:
        """Start the lease anew; false where it has gone to someone else."""
        ...

    async def acknowledge(self, message: Message) -> bool:
        """Remove a message for good; false where the lease has gone to someone else."""
        ...

    async def release(self, message: Message) -> bool:
        """Give a lease back before its end; false where it has gone to someone else."""
        ...

    async def dead(self, message: Message, reason: str) -> bool:
        """Put aside, for people to look at, a message that can't be worked on."""
        ...

    async def length(self) -> int:
        """How many messages wait or are leased."""
        ...

    async def ready(self) -> None:
        """Raise where the queue can't be used now."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
