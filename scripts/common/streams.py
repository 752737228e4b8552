"""Streams over what arrives in chunks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed import WriteableBuffer


class ChunkReader(io.RawIOBase):
    """A stream over chunks of bytes; holds one chunk at a time.

    Args:
        chunks: what arrives, in order; ended early, the stream ends there.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        """See the class."""
        self._chunks, self._rest = iter(chunks), b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        """Fill a part of `target`; 0 at the end."""
        while not self._rest:
            try:
                self._rest = next(self._chunks)
            except StopIteration:
                return 0
        view = memoryview(target).cast("B")
        count = min(len(view), len(self._rest))
        view[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


def buffered(chunks: Iterable[bytes]) -> io.BufferedReader:
    """A buffered stream over chunks of bytes, for whoever reads little at a time."""
    return io.BufferedReader(ChunkReader(chunks))
