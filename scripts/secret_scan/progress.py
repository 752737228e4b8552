"""Progress of a scan whose end nobody knows: counts on stderr, renewed on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from common import log

if TYPE_CHECKING:
    from typing import Self

    from rich.status import Status

_FIRST_SECONDS, _LINE_SECONDS = 1.0, 10.0


class Ticker:
    """Shows how far a scan is, if it takes long enough for anyone to wonder."""

    def __init__(self) -> None:
        """See the class."""
        self._status: Status | None = None
        self._begun = self._last = time.monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def update(self, files: int, size: int) -> None:
        """So many files and bytes so far."""
        now = time.monotonic()
        if now - self._begun < _FIRST_SECONDS:
            return
        line = f"scanned {files} files and objects, {size / 1e6:.0f} MB"
        if sys.stderr.isatty():
            self._show(line)
        elif now - self._last > _LINE_SECONDS:
            self._last = now
            log.say(line)

    def _show(self, line: str) -> None:
        if self._status is None:
            from rich.console import Console

            self._status = Console(stderr=True).status(line)
            self._status.start()
        self._status.update(line)

    def __exit__(self, *_: object) -> None:
        """Remove the line."""
        if self._status is not None:
            self._status.stop()
