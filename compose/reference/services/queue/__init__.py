"""The job queue between control-plane and executor; which kind is chosen by its URL."""

from services.kit.settings import SettingsError
from services.queue.protocol import LEASE_SECONDS, Message, NewMessage, Priority, Queue

__all__ = ["LEASE_SECONDS", "Message", "NewMessage", "Priority", "Queue", "open_queue"]


def open_queue(url: str) -> Queue:
    """The queue at `url`; nothing is opened before the first use.

    Raises:
        SettingsError: no queue of this kind exists.
    """
    if url.startswith("sqlite:///"):
        from services.queue.sqlite import SqliteQueue

        return SqliteQueue(url.removeprefix("sqlite:///"))
    scheme = url.partition(":")[0]
    raise SettingsError(f"QUEUE_URL: expected sqlite:///<file>, got a URL with {scheme!r}")
