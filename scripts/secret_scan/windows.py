"""Cut a stream into windows that overlap, so that memory is bounded and no match is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CORE_BYTES = 64 << 10
# A match may begin anywhere in the core, see this much before it, and end this much behind.
BEFORE_BYTES = 1 << 10
BEHIND_BYTES = 8 << 10


@dataclass(frozen=True)
class Window:
    """A piece of a stream.

    Args:
        core_start: where matches begin to count; what stands before is context.
        core_end: where they stop to count; the next window has what begins there.
        first_line: the line number of the first byte of `whole`.
        whole: more of the stream, where it is at hand: lines are counted when they are asked for.
        offset: where `text` begins in it.
    """

    text: bytes
    core_start: int
    core_end: int
    first_line: int
    whole: bytes
    offset: int = 0

    def line_at(self, position: int) -> int:
        """The line number of a byte."""
        return self.first_line + self.whole.count(b"\n", 0, self.offset + position)

    def line_bounds(self, start: int, end: int) -> tuple[int, int]:
        """Where the lines begin and end that hold `start` to `end`, as far as they are here."""
        stop = self.text.find(b"\n", max(start, end - 1))
        return self.text.rfind(b"\n", 0, start) + 1, len(self.text) if stop < 0 else stop


def windows_of(data: bytes) -> Iterator[Window]:
    """The windows of what is in memory: the same as those of a stream."""
    for start in range(0, len(data), CORE_BYTES):
        last = len(data) - start <= CORE_BYTES + BEHIND_BYTES
        end = len(data) if last else start + CORE_BYTES
        first = max(0, start - BEFORE_BYTES)
        text = data[first : end + BEHIND_BYTES]
        yield Window(text, start - first, end - first, 1, data, first)
        if last:
            return


def windows(
    chunks: Iterable[bytes], *, before: bytes = b"", core_bytes: int | None = None
) -> Iterator[Window]:
    """The windows of a stream.

    Args:
        chunks: the bytes, in pieces of any size.
        before: what stands before the first chunk; context only.
        core_bytes: how many bytes are core; the rest is context of the last window.
    """
    stream = iter(chunks)
    held, core_start, line = bytearray(before), len(before), 1 - before.count(b"\n")
    left, ended = core_bytes, False
    while not ended or core_start < len(held):
        ended = _fill(held, stream, core_start + CORE_BYTES + BEHIND_BYTES) or ended
        last = ended and len(held) <= core_start + CORE_BYTES + BEHIND_BYTES
        core_end = len(held) if last else core_start + CORE_BYTES
        if left is not None:
            core_end = min(core_end, core_start + left)
            left -= core_end - core_start
        if core_end > core_start:
            # No more than the context: what lies behind it is read with the next window.
            text = bytes(held[: core_end + BEHIND_BYTES])
            yield Window(text, core_start, core_end, line, text)
        if left == 0:
            return
        drop = max(0, core_end - BEFORE_BYTES)
        line += held.count(b"\n", 0, drop)
        del held[:drop]
        core_start = core_end - drop


def _fill(held: bytearray, stream: Iterator[bytes], wanted: int) -> bool:
    while len(held) < wanted:
        chunk = next(stream, None)
        if chunk is None:
            return True
        held += chunk
    return False
