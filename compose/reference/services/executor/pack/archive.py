"""Reads a tar of somebody else strictly: regular files with plain paths, and nothing after them.

Nothing is ever extracted: a member is a name and a range of the uploaded bytes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO

from services.executor.pack.headers import ArchiveError, Member, members_of

if TYPE_CHECKING:
    from services.executor.pack.deadline import Deadline

MEMBER_LIMIT = 20_000
PATH_LIMIT_BYTES = 1_024
BLOCK_BYTES = 1 << 16

__all__ = ["Archive", "ArchiveError", "Member", "plain_path"]


class Archive:
    """An uploaded tar whose members were checked; `members` are sorted by path."""

    def __init__(self, stream: BinaryIO, deadline: Deadline) -> None:
        """Check the whole archive.

        Raises:
            ArchiveError: anything but regular files with plain, different paths.
            TooSlowError: the time is over.
        """
        self._stream = stream
        self.size_bytes = stream.seek(0, 2)
        self.members = self._read_members(deadline)

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

    def _read_members(self, deadline: Deadline) -> tuple[Member, ...]:
        found: dict[str, Member] = {}
        for member in members_of(self._stream, self.size_bytes, deadline):
            if not plain_path(member.path):
                raise ArchiveError("expected plain relative paths, got another one")
            if member.path in found:
                raise ArchiveError("expected each path once, got one twice")
            if len(found) == MEMBER_LIMIT:
                raise ArchiveError(f"expected at most {MEMBER_LIMIT} files, got more")
            found[member.path] = member
        return tuple(sorted(found.values(), key=lambda member: member.path.encode()))


def plain_path(path: str) -> bool:
    """Whether a path is relative, with no `.`, `..`, empty part, backslash or control character."""
    try:
        short = len(path.encode()) <= PATH_LIMIT_BYTES
    except UnicodeEncodeError:
        return False
    odd = any(letter < " " or letter in {"\\", "\x7f"} for letter in path)
    return short and not odd and all(part not in {"", ".", ".."} for part in path.split("/"))
