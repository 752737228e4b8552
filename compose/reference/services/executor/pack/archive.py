"""Reads a tar of somebody else strictly: regular files with plain paths, and nothing after them.

Nothing is ever extracted: a member is a name and a range of the uploaded bytes.
"""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBER_LIMIT = 20_000
PATH_LIMIT_BYTES = 1_024
BLOCK_BYTES = 1 << 16
_TAR_BLOCK_BYTES = 512
# What tarfile raises on bytes that somebody made to confuse it.
_UNREADABLE = (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError)


class ArchiveError(Exception):
    """The bytes are no tar that this service takes: "expected X, got Y"."""


@dataclass(frozen=True)
class Member:
    """One file of the archive: where its bytes stand in the upload."""

    path: str
    offset_bytes: int
    size_bytes: int


class Archive:
    """An uploaded tar whose members were checked; `members` are sorted by path."""

    def __init__(self, stream: BinaryIO) -> None:
        """Check the whole archive.

        Raises:
            ArchiveError: anything but regular files with plain, different paths.
        """
        self._stream = stream
        self.size_bytes = stream.seek(0, 2)
        self.members = self._read_members()

    def read(self, member: Member) -> bytes:
        """The bytes of a member."""
        self._stream.seek(member.offset_bytes)
        return self._stream.read(member.size_bytes)

    def sha256(self, member: Member) -> str:
        """The digest of a member, which is never whole in memory."""
        digest = hashlib.sha256()
        self._stream.seek(member.offset_bytes)
        left = member.size_bytes
        while left and (block := self._stream.read(min(left, BLOCK_BYTES))):
            digest.update(block)
            left -= len(block)
        return digest.hexdigest()

    def _read_members(self) -> tuple[Member, ...]:
        self._stream.seek(0)
        found: dict[str, Member] = {}
        end = 0
        try:
            with tarfile.open(fileobj=self._stream, mode="r:") as archive:
                for entry in self._entries(archive):
                    member = self._member(entry)
                    if member.path in found:
                        raise ArchiveError("expected each path once, got one twice")
                    found[member.path] = member
                    blocks = -(-member.size_bytes // _TAR_BLOCK_BYTES)
                    end = member.offset_bytes + blocks * _TAR_BLOCK_BYTES
        except _UNREADABLE as problem:
            raise ArchiveError("expected an uncompressed tar, got other bytes") from problem
        self._check_end(end)
        return tuple(sorted(found.values(), key=lambda member: member.path.encode()))

    def _entries(self, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        for number, entry in enumerate(archive):
            if number >= MEMBER_LIMIT:
                raise ArchiveError(f"expected at most {MEMBER_LIMIT} files, got more")
            yield entry
        if archive.pax_headers:
            raise ArchiveError("expected no global header, got one")

    def _member(self, entry: tarfile.TarInfo) -> Member:
        if entry.type not in {tarfile.REGTYPE, tarfile.AREGTYPE} or entry.issparse():
            raise ArchiveError("expected regular files, got a member of another kind")
        if not plain_path(entry.name):
            raise ArchiveError("expected plain relative paths, got another one")
        if entry.size < 0 or entry.offset_data + entry.size > self.size_bytes:
            raise ArchiveError("expected whole files, got one that is cut off")
        return Member(entry.name, entry.offset_data, entry.size)

    def _check_end(self, end: int) -> None:
        """Python stops in silence at a broken header: what it left has to be zeros."""
        if self.size_bytes - end < 2 * _TAR_BLOCK_BYTES:
            raise ArchiveError("expected the two empty blocks of a whole tar, got less")
        self._stream.seek(end)
        while block := self._stream.read(BLOCK_BYTES):
            if block.strip(b"\0"):
                raise ArchiveError("expected nothing after the last file, got more bytes")


def plain_path(path: str) -> bool:
    """Whether a path is relative, with no `.`, `..`, empty part, backslash or control character."""
    try:
        short = len(path.encode()) <= PATH_LIMIT_BYTES
    except UnicodeEncodeError:
        return False
    odd = any(letter < " " or letter in {"\\", "\x7f"} for letter in path)
    return short and not odd and all(part not in {"", ".", ".."} for part in path.split("/"))
