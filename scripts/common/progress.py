"""Live progress: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from common import log

if TYPE_CHECKING:
    from typing import Self

    from rich.progress import Progress as Bar

LINE_SECONDS = 5.0


class Progress:
    """Counts towards a total on stderr; use as a context manager.

    Args:
        what: what is counted, such as "submitted".
        total: the count at which it is done.
    """

    def __init__(self, what: str, total: int) -> None:
        """See the class."""
        self._what, self._total = what, total
        self._bar: Bar | None = None
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        """Show the bar where stderr is a terminal."""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._bar.add_task(self._what, total=self._total)
            self._bar.start()
        return self

    def update(self, count: int) -> None:
        """Show a new count."""
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=count)
        elif time.monotonic() - self._last > LINE_SECONDS:
            self._last = time.monotonic()
            log.say(f"{self._what}: {count} of {self._total}")

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        if self._bar:
            self._bar.stop()
