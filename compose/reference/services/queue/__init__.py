"""The job queue between control-plane and executor; which kind is chosen by its URL."""

from services.kit.settings import SettingsError
from services.queue.protocol import (
    LEASE_SECONDS,
    Message,
    NewMessage,
    Priority,
    Queue,
    QueueFullError,
    QueueUnavailableError,
)

__all__ = [
    "LEASE_SECONDS",
    "Message",
    "NewMessage",
    "Priority",
    "Queue",
    "QueueFullError",
    "QueueUnavailableError",
    "open_queue",
]


def open_queue(url: str) -> Queue:
    """The queue at `url`; nothing is opened before the first use.

    Raises:
        SettingsError: no queue of this kind exists.
    """
    if url.startswith("sqlite:///"):
        from services.queue.sqlite import SqliteQueue

        return SqliteQueue(url.removeprefix("sqlite:///"))
    if url.startswith(("redis://", "rediss://")):
        from services.queue.redis import RedisQueue

        return RedisQueue(url)
    scheme = url.partition(":")[0]
    raise SettingsError(
        f"QUEUE_URL: expected sqlite:///<file> or redis://<host>/<number>, got {scheme!r}"
    )
