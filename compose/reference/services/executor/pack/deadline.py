"""The time that one pack may take, from the first header of its archive to its last chunk."""

from __future__ import annotations

import time


class TooSlowError(Exception):
    """The pack was not ready within its time."""


class Deadline:
    """A moment after which work stops; it runs from when it is made."""

    def __init__(self, seconds: float) -> None:
        """Start the clock."""
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Go on, or stop.

        Raises:
            TooSlowError: the time is over.
        """
        if time.monotonic() > self._end:
            raise TooSlowError(f"the pack was not ready within {self._seconds:g} s")
