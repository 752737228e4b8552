"""A container's log while it runs, as the engine gives it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from stack.compose.engine import ask, engine_trouble

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.compose.containers import Listed
    from stack.compose.engine import Engine

_HEAD_BYTES = 1 << 20
# The SDK takes a float, which is exact to less than this in this century.
_ROUNDING_SECONDS = 0.000_002


class ContainerView:
    """What a container writes from now on.

    The last line of now is the mark: it has to come again when the log is read. A log that
    was cut or changed hands meanwhile does not have it, and an engine whose clock is another
    one than ours makes no difference.
    """

    # The engine copies what a container writes, in its own time.
    settle_seconds = 0.5

    def __init__(self, engine: Engine, item: Listed) -> None:
        """Note the last line.

        Raises:
            ScriptError: the engine gives no log.
        """
        self._engine, self._item = engine, item
        data: bytes = ask(lambda: engine.api.logs(item.id, tail=1, timestamps=True))
        moment, _, line = data.strip(b"\n").rpartition(b"\n")[2].partition(b" ")
        self._mark = moment + b" " + line[:_HEAD_BYTES]
        self._since = _seconds(moment.decode("ascii", "replace"), item.service) if moment else None

    def blocks(self) -> Iterator[bytes]:
        """What the container wrote since the mark, and the mark."""
        if self._since:
            self._find_mark()
        yield from self._read()

    def _find_mark(self) -> None:
        """The line of then, with its own moment: the same words may have come again since."""
        head = b""
        for block in self._read(timestamps=True):
            head += block
            if self._mark in head:
                return
            if len(head) > 2 * _HEAD_BYTES:
                break
        raise self._cut()

    def _read(self, **more: object) -> Iterator[bytes]:
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        options: dict[str, Any] = {"since": self._since, **more} if self._since else more
        try:
            yield from self._engine.api.logs(self._item.id, stream=True, follow=False, **options)
        except (DockerException, RequestException, OSError) as problem:
            raise engine_trouble(problem) from problem

    def _cut(self) -> ScriptError:
        return ScriptError(f"the log of {self._item.service} was cut while it was watched")


def _seconds(moment: str, service: str) -> float:
    """The engine's own time stamp, such as 2026-11-21T19:53:32.276112233Z, as it takes it back."""
    whole, _, fraction = moment.rstrip("Z").partition(".")
    try:
        parts = datetime.fromisoformat(f"{whole}+00:00"), int((fraction + "000000")[:6])
    except ValueError:
        raise ScriptError(
            f"the log of {service}: expected lines with a time stamp, got {moment[:40]!r}"
        ) from None
    return parts[0].timestamp() + parts[1] / 1_000_000 - _ROUNDING_SECONDS
