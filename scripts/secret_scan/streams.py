"""Bytes in chunks, whatever they come from: what kind they are, and decompressed within bounds."""

from __future__ import annotations

import bz2
import codecs
import lzma
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from common.cli import ScriptError

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 256 << 10
HEAD_BYTES = 8 << 10
# What one file, with all that is packed in it, may unpack to; beyond, it counts as unread.
UNPACKED_LIMIT_BYTES = 1 << 30
_LZMA_MEMORY_BYTES = 96 << 20
_TAR_MAGIC_AT = 257
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"\x04\x22\x4d\x18", "LZ4"),
    (b"\x1f\x9d", "compress"),
    (b"LZIP", "lzip"),
)
COMPRESSED = frozenset({"gzip", "bzip2", "xz"})
UNSUPPORTED = frozenset({"zstd", "7-Zip", "RAR", "LZ4", "compress", "lzip"})
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Stream(Protocol):
    """What is read from: io.BufferedReader has it."""

    def read(self, size: int = -1, /) -> bytes:
        """That many bytes, fewer only at the end."""

    def peek(self, size: int = 0, /) -> bytes:
        """What comes next, without taking it."""

    def seekable(self) -> bool:
        """Whether one can go back."""


class UnreadableError(ScriptError):
    """Something can't be read, or not to its end; the message is the reason."""


@dataclass
class Budget:
    """How much one file may still unpack to."""

    left_bytes: int = UNPACKED_LIMIT_BYTES
    left_members: int = 100_000

    def take(self, count: int) -> None:
        """Use some of it.

        Raises:
            UnreadableError: there is no more.
        """
        self.left_bytes -= count
        if self.left_bytes < 0:
            raise UnreadableError(f"unpacks to more than {UNPACKED_LIMIT_BYTES} bytes")

    def take_member(self) -> None:
        """Use one member.

        Raises:
            UnreadableError: there is no more.
        """
        self.take(0)
        self.left_members -= 1
        if self.left_members < 0:
            raise UnreadableError("holds more than 100000 files")


def kind_of_bytes(head: bytes) -> str:
    """What begins like this: a compressed or packed format, an encoding, "binary" or "text"."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        return "tar"
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if b"\0" not in head:
        return "text"
    return _unmarked(head)


def _unmarked(head: bytes) -> str:
    # UTF-16 of mostly ASCII: every other byte is 0, and the others hardly ever.
    even, odd = head[0::2], head[1::2]
    if len(head) >= 8:  # noqa: PLR2004 - four letters
        for zeros, others, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
            if zeros.count(0) > 0.6 * len(zeros) and others.count(0) < 0.02 * len(others) + 1:
                return encoding
    return "binary"


def chunks_of(stream: Stream) -> Iterator[bytes]:
    """What is left of a stream."""
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def as_utf8(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """UTF-16 or UTF-32 as UTF-8; what is no text becomes a replacement character."""
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    for chunk in chunks:
        yield decoder.decode(chunk).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def decompressed(stream: Stream, kind: str, budget: Budget) -> Iterator[bytes]:
    """What a compressed stream holds, one chunk at a time, of several members as well.

    Raises:
        UnreadableError: damaged, cut off, or more than the budget.
    """
    try:
        yield from _members(stream, kind, budget)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as problem:
        raise UnreadableError(f"damaged {kind} data: {str(problem)[:80]}") from problem


def _members(stream: Stream, kind: str, budget: Budget) -> Iterator[bytes]:
    data = stream.read(CHUNK_BYTES)
    while data:
        machine = _Machine(kind)
        while not machine.ended:
            if not data and machine.needs_input and not (data := stream.read(CHUNK_BYTES)):
                raise EOFError("cut off")
            chunk = machine.feed(data)
            data = b""
            budget.take(len(chunk))
            if chunk:
                yield chunk
        data = machine.rest or stream.read(CHUNK_BYTES)
        if not data.strip(b"\0"):  # padding behind the last member
            data = b""


class _Machine:
    """One decompressor with one face: output in bounded chunks."""

    def __init__(self, kind: str) -> None:
        self._zlib = zlib.decompressobj(31) if kind == "gzip" else None
        self._other = bz2.BZ2Decompressor() if kind == "bzip2" else None
        if kind == "xz":
            self._other = lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)  # type: ignore[assignment]  # same methods

    @property
    def ended(self) -> bool:
        return self._zlib.eof if self._zlib else bool(self._other and self._other.eof)

    @property
    def needs_input(self) -> bool:
        if self._zlib:
            return not self._zlib.unconsumed_tail
        return bool(self._other and self._other.needs_input)

    @property
    def rest(self) -> bytes:
        machine = self._zlib or self._other
        return machine.unused_data if machine else b""

    def feed(self, data: bytes) -> bytes:
        if self._zlib:
            return self._zlib.decompress(self._zlib.unconsumed_tail + data, CHUNK_BYTES)
        return self._other.decompress(data, CHUNK_BYTES) if self._other else b""
