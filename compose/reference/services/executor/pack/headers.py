"""Walks the headers of a tar block by block, and takes no more memory than one of them.

Python's tarfile keeps every member with a copy of every global key, and finds out what a
member is after it has read whatever stands before it: a megabyte of zeros, packed well,
becomes gigabytes. Here a header is refused where it stands.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.executor.pack.deadline import Deadline

BLOCK_BYTES = tarfile.BLOCKSIZE
# A path of 1,024 bytes, times and owners, and room to spare.
EXTENSION_LIMIT_BYTES = 8_192
_FILES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE})
# Keys of an extended header that say nothing about where bytes are or what they are.
_HARMLESS = frozenset({"atime", "comment", "ctime", "gid", "gname", "mtime", "uid", "uname"})
_HARMLESS_VENDORS = ("LIBARCHIVE.", "SCHILY.")
_LENGTH_DIGITS = 5


class ArchiveError(Exception):
    """The bytes are no tar that this service takes: "expected X, got Y"."""


@dataclass(frozen=True)
class Member:
    """One file of the archive: where its bytes stand in the upload."""

    path: str
    offset_bytes: int
    size_bytes: int

    @property
    def end_bytes(self) -> int:
        """Where the next header stands."""
        return self.offset_bytes + -(-self.size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def members_of(stream: BinaryIO, size_bytes: int, deadline: Deadline) -> Iterator[Member]:
    """Each file of a tar, in its order; then the end, which has to be one.

    Raises:
        ArchiveError: a header that is broken, of another kind, too long, or cut off.
        TooSlowError: the time is over.
    """
    position, path = 0, None
    while True:
        deadline.check()
        stream.seek(position)
        block = stream.read(BLOCK_BYTES)
        if not block.strip(b"\0"):
            break
        entry = _parsed(block)
        place = Member(path or entry.name, position + BLOCK_BYTES, entry.size)
        if entry.size < 0 or place.offset_bytes + entry.size > size_bytes:
            raise ArchiveError("expected whole files, got one that is cut off")
        if entry.type in _FILES:
            path = None
            yield place
        elif path is None:
            path = _long_path(stream, entry)
        else:
            raise ArchiveError("expected one extended header for a file, got two")
        position = place.end_bytes
    if path is not None:
        raise ArchiveError("expected a file after its extended header, got none")
    _check_end(stream, position, size_bytes)


def _parsed(block: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.TarError, ValueError, OverflowError) as problem:
        raise ArchiveError("expected an uncompressed tar, got other bytes") from problem


def _long_path(stream: BinaryIO, entry: tarfile.TarInfo) -> str:
    """The path in the extended header that `stream` stands at; "" if it holds none."""
    if entry.type == tarfile.XGLTYPE:
        raise ArchiveError("expected no global header, got one")
    if entry.type not in {tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME}:
        raise ArchiveError("expected regular files, got a member of another kind")
    if entry.size > EXTENSION_LIMIT_BYTES:
        raise ArchiveError(
            f"expected extended headers of at most {EXTENSION_LIMIT_BYTES} bytes, got a longer one"
        )
    data = stream.read(entry.size)
    try:
        if entry.type == tarfile.GNUTYPE_LONGNAME:
            return data.removesuffix(b"\0").decode()
        return _pax_path(data)
    except ValueError as problem:
        raise ArchiveError("expected an extended header in UTF-8, got other bytes") from problem


def _pax_path(data: bytes) -> str:
    """The path of `<length> <key>=<value>` lines; ValueError if they are not such lines."""
    path = ""
    while data:
        digits, space, _rest = data[: _LENGTH_DIGITS + 1].partition(b" ")
        length = int(digits) if digits.isdigit() and space else 0
        line, data = data[:length], data[length:]
        key, equals, value = line[len(digits) + 1 : -1].decode().partition("=")
        if len(line) != length or not equals or not line.endswith(b"\n"):
            raise ValueError("not a line of an extended header")
        if key == "path":
            path = value
        elif key not in _HARMLESS and not key.startswith(_HARMLESS_VENDORS):
            raise ArchiveError("expected paths, times and owners in extended headers, got more")
    return path


def _check_end(stream: BinaryIO, end: int, size_bytes: int) -> None:
    """Two empty blocks at least, and then zeros only."""
    if size_bytes - end < 2 * BLOCK_BYTES:
        raise ArchiveError("expected the two empty blocks of a whole tar, got less")
    stream.seek(end)
    while block := stream.read(128 * BLOCK_BYTES):
        if block.strip(b"\0"):
            raise ArchiveError("expected nothing after the last file, got more bytes")
