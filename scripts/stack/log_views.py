"""What a log has got since some moment, read while the system runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from common.cli import ScriptError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK_BYTES = 1 << 20
# What stands in a kept log where the engine gave none: such a log was not seen.
NO_LOG = "[the engine gave no log: "


class LogView(Protocol):
    """One log, from the moment on at which the view was made."""

    settle_seconds: float
    """How long what was written may take to be there."""

    def blocks(self) -> Iterator[bytes]:
        """What was written since then, in order, in parts of bounded size.

        Raises:
            ScriptError: it can't be read, or what stood there is gone.
        """


class FileView:
    """A file that a service appends to."""

    settle_seconds = 0.0

    def __init__(self, path: Path) -> None:
        """Note where it ends now.

        Raises:
            ScriptError: it can't be read.
        """
        self._path = path
        try:
            status = path.stat()
        except OSError as problem:
            raise self._trouble(problem) from problem
        self._inode, self._size = status.st_ino, status.st_size

    def blocks(self) -> Iterator[bytes]:
        """What was appended."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._size:
                    raise ScriptError(f"{self._path.name} is another file than before")
                file.seek(self._size)
                while block := file.read(BLOCK_BYTES):
                    yield block
        except OSError as problem:
            raise self._trouble(problem) from problem

    def _trouble(self, problem: OSError) -> ScriptError:
        reason = (problem.strerror or str(problem)).lower()
        return ScriptError(f"{self._path.name} can't be read: {reason}")
