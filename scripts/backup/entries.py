"""The entries of a backup's tar, written byte by byte so that the same content is the same tar.

A reader makes the header that it expects out of the manifest and compares bytes: whatever else
a tar could hold (links, devices, a name twice, a path that climbs) is not that header.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backup.errors import RefusedError
from evidence.files import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK_BYTES = 512
END = bytes(2 * BLOCK_BYTES)
_USTAR_SIZE_LIMIT = 8**11
_USTAR_NAME_LIMIT = 100
_MODE_BITS = 0o777
_PART_LIMIT_BYTES = 255
_PATH_LIMIT_BYTES = 4096
_DEPTH_LIMIT = 128


@dataclass(frozen=True)
class Entry:
    """A regular file, or a folder, of a backup.

    Args:
        path: relative, with `/`; it starts with the store's name.
        mode: permission bits only; set-user-id and such are not kept.
        size_bytes: None for a folder.
        sha256: of the content; "" for a folder.
    """

    path: str
    mode: int
    size_bytes: int | None = None
    sha256: str = ""

    @property
    def folder(self) -> bool:
        """Whether it is a folder."""
        return self.size_bytes is None

    @property
    def length(self) -> int:
        """Bytes of content."""
        return self.size_bytes or 0

    def as_json(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        mode = f"{self.mode:04o}"
        if self.folder:
            return {"path": self.path, "mode": mode}
        sizes = {"size_bytes": self.length, "sha256": self.sha256}
        return {"path": self.path, "mode": mode, **sizes}


def header(entry: Entry) -> bytes:
    """The tar header of an entry: ustar, behind a pax header where ustar can't say it."""
    name = entry.path + ("/" if entry.folder else "")
    plain = name.isascii() and len(name) <= _USTAR_NAME_LIMIT
    records = b"" if plain else _record("path", name)
    if entry.length >= _USTAR_SIZE_LIMIT:
        records += _record("size", str(entry.length))
    size = entry.length if entry.length < _USTAR_SIZE_LIMIT else 0
    kind = b"5" if entry.folder else b"0"
    if not records:
        return _ustar(name.encode(), entry.mode, size, kind)
    short = name.encode("ascii", "replace")[:_USTAR_NAME_LIMIT]
    extended = _ustar(b"PaxHeader", 0o644, len(records), b"x") + padded(records)
    return extended + _ustar(short, entry.mode, size, kind)


def padding(length: int) -> bytes:
    """What fills the last block of a content."""
    return bytes(-length % BLOCK_BYTES)


def padded(data: bytes) -> bytes:
    """Data up to the end of its last block."""
    return data + padding(len(data))


def tar_bytes(entries: Iterable[Entry]) -> int:
    """How long the tar of these entries is."""
    return len(END) + sum(
        len(header(entry)) + entry.length + len(padding(entry.length)) for entry in entries
    )


def check_paths(entries: Iterable[Entry]) -> None:
    """Refuse entries that would not come out of the archive as they went in.

    Raises:
        RefusedError: absolute, climbing or odd paths, a path twice, names that are the same
            without case, a folder that is not there before what is in it, an order of its own.
    """
    folders: set[str] = set()
    folded: dict[str, str] = {}
    last = ""
    for entry in entries:
        _check_path(entry.path)
        # Equal names on a disk that does not tell case, or ways to write an accent, apart.
        twin = folded.setdefault(_fold(entry.path), entry.path)
        if twin is not entry.path:
            raise RefusedError(
                f"expected names that differ after case folding, got {shown(entry.path)} and "
                f"{shown(twin)}"
            )
        parent = entry.path.rpartition("/")[0]
        if parent and parent not in folders:
            raise RefusedError(f"expected the folder of {shown(entry.path)} before it")
        if _order(entry.path) <= _order(last):
            raise RefusedError(f"expected entries in order, got {shown(entry.path)} late")
        if entry.folder:
            folders.add(entry.path)
        last = entry.path


def in_order(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Sorted so that every folder stands before what is in it."""
    return tuple(sorted(entries, key=lambda entry: _order(entry.path)))


def _order(path: str) -> list[bytes]:
    return [part.encode("utf-8", "surrogatepass") for part in path.split("/")]


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _check_path(path: str) -> None:
    parts = path.split("/")
    try:
        lengths = [len(part.encode()) for part in parts]
    except UnicodeEncodeError as problem:
        raise RefusedError(f"expected a name in UTF-8, got {shown(path)}") from problem
    odd = any(ord(letter) < ord(" ") or letter in "\\\x7f" for letter in path)
    if odd or any(part in {"", ".", ".."} for part in parts):
        raise RefusedError(
            f"expected a relative path of plain names, without control characters and "
            f"backslashes, got {shown(path)}"
        )
    too_long = max(lengths) > _PART_LIMIT_BYTES or sum(lengths) + len(parts) > _PATH_LIMIT_BYTES
    if too_long or len(parts) > _DEPTH_LIMIT:
        raise RefusedError(f"expected a path that a file system takes, got {shown(path)}")


def _record(key: str, value: str) -> bytes:
    # "LENGTH key=value\n", where LENGTH counts its own digits too.
    rest = f" {key}={value}\n".encode()
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def _ustar(name: bytes, mode: int, size: int, kind: bytes) -> bytes:
    fields = (
        name.ljust(100, b"\0"),
        b"%07o\0" % (mode & _MODE_BITS),
        b"%07o\0" % 0,  # user
        b"%07o\0" % 0,  # group
        b"%011o\0" % size,
        b"%011o\0" % 0,  # time
        b" " * 8,  # the checksum counts itself as blanks
        kind,
        bytes(100),
        b"ustar\x0000",
        bytes(64),  # names of user and group
        b"%07o\0" % 0,
        b"%07o\0" % 0,
    )
    block = b"".join(fields).ljust(BLOCK_BYTES, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
