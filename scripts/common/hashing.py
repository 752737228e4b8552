"""SHA-256 of files and of JSON values, the same on every machine."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING

from common.cli import ScriptError

if TYPE_CHECKING:
    from pathlib import Path

BLOCK_BYTES = 1 << 20
# Windows has neither flag: there a link is found by lstat, and bytes need O_BINARY.
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FLAGS = os.O_RDONLY | _NO_FOLLOW | getattr(os, "O_NONBLOCK", 0)
_FLAGS |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def open_unfollowed(path: str | os.PathLike[str]) -> int:
    """A handle to read `path` with, which is never reached through a link or waited for.

    Raises:
        OSError: it can't be opened (a symbolic link: ELOOP).
    """
    if not _NO_FOLLOW and stat.S_ISLNK(os.lstat(path).st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
    return os.open(path, _FLAGS)


def sha256_bytes(data: bytes) -> str:
    """Lower-case hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | Path) -> str:
    """Lower-case hex SHA-256 of a regular file, which is never reached through a link.

    One exact read where the file is small, 1 MiB blocks where it is large: a large
    buffer for a small file costs more than the file.

    Raises:
        ScriptError: `path` is not a regular file, or changed its length meanwhile.
        OSError: `path` can't be opened (a symbolic link: ELOOP).
    """
    handle = open_unfollowed(path)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ScriptError(f"expected a regular file, got another kind: {path}")
        size = status.st_size
        if size <= BLOCK_BYTES:
            data = os.read(handle, size) if size else b""
            digest, length = hashlib.sha256(data), len(data)
        else:
            digest, length = _hash_blocks(handle, size)
        if length != size:
            raise ScriptError(f"{path} changed while it was hashed: expected {size} bytes")
        return digest.hexdigest()
    finally:
        os.close(handle)


def _hash_blocks(handle: int, size: int) -> tuple[hashlib._Hash, int]:
    digest, length = hashlib.sha256(), 0
    # A file that grows for ever is not read for ever.
    while length <= size and (block := os.read(handle, BLOCK_BYTES)):
        digest.update(block)
        length += len(block)
    return digest, length


def canonical_json(value: object) -> bytes:
    """The canonical JSON of a value (RFC 8785): one byte string for one value.

    Raises:
        ScriptError: the value holds NaN, an infinity, or an integer of 2**53 or more.
    """
    import rfc8785

    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # checked by the call itself
    except (rfc8785.CanonicalizationError, RecursionError) as problem:
        raise ScriptError(f"no canonical JSON for this value: {problem}") from problem


def sha256_json(value: object) -> str:
    """Lower-case hex SHA-256 of the canonical JSON of a value."""
    return sha256_bytes(canonical_json(value))
