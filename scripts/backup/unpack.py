"""Unpack an archive, byte by byte as its manifest says; nothing else can come out of it."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Protocol, cast

from backup.entries import BLOCK_BYTES as TAR_BLOCK
from backup.entries import END, Entry, header, padding
from backup.errors import DamagedError, RefusedError, reason_of
from common.cli import ScriptError
from common.hashing import BLOCK_BYTES
from common.streams import ChunkReader
from evidence.files import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from backup.archive import Archive

WINDOW_LIMIT_BYTES = 128 << 20
_DIRECTORY = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


class Sink(Protocol):
    """Where the content of an archive goes."""

    def folder(self, entry: Entry) -> None:
        """A folder; everything in it comes later."""

    def file(self, entry: Entry, blocks: Iterator[bytes]) -> None:
        """A file; its blocks have to be taken to the end."""


class Nowhere:
    """Reads everything and writes nothing: what verification unpacks into."""

    def folder(self, entry: Entry) -> None:
        """Nothing."""

    def file(self, _entry: Entry, blocks: Iterator[bytes]) -> None:
        """Take the blocks, which checks them."""
        for _ in blocks:
            pass


class NewFolder:
    """Unpacks into a folder that nobody else knows.

    Files are made exclusively, below a handle of their folder, and never through a link. Modes
    of folders are set last, so that a folder that may not be written can be filled.

    Args:
        root: an empty folder of ours.
        wanted: whether an entry comes out.
    """

    def __init__(self, root: Path, wanted: Callable[[Entry], bool] = lambda _: True) -> None:
        """See the class."""
        self._root, self._wanted = root, wanted
        self._folders: list[Entry] = []

    def folder(self, entry: Entry) -> None:
        """Make a folder, for now its owner's."""
        if self._wanted(entry):
            with _Handle(self._root, entry.path.split("/")[:-1]) as parent:
                os.mkdir(entry.path.rpartition("/")[2], 0o700, dir_fd=parent)
            self._folders.append(entry)

    def file(self, entry: Entry, blocks: Iterator[bytes]) -> None:
        """Write a file and wait for the disk."""
        if not self._wanted(entry):
            Nowhere().file(entry, blocks)
            return
        *folders, name = entry.path.split("/")
        with _Handle(self._root, folders) as parent:
            handle = os.open(name, _NEW, 0o600, dir_fd=parent)
        try:
            for block in blocks:
                rest = memoryview(block)
                while rest:
                    rest = rest[os.write(handle, rest) :]
            os.fchmod(handle, entry.mode)
            os.fsync(handle)
        finally:
            os.close(handle)

    def finish(self) -> None:
        """Set the modes of the folders, deepest first, and wait for the disk."""
        for entry in reversed(self._folders):
            with _Handle(self._root, entry.path.split("/")) as handle:
                os.fchmod(handle, entry.mode)
                os.fsync(handle)


class _Handle:
    """A handle of a folder below `root`, reached part by part and never through a link."""

    def __init__(self, root: Path, parts: list[str]) -> None:
        self._root, self._parts = root, parts

    def __enter__(self) -> int:
        self._open = os.open(self._root, os.O_RDONLY | _DIRECTORY)
        try:
            for part in self._parts:
                inner = os.open(part, os.O_RDONLY | _DIRECTORY, dir_fd=self._open)
                os.close(self._open)
                self._open = inner
        except OSError:
            os.close(self._open)
            raise
        return self._open

    def __exit__(self, *_: object) -> None:
        os.close(self._open)


def unpack(archive: Archive, sink: Sink, progress: Callable[[int], None] = lambda _: None) -> None:
    """Read all of an archive and check all of it.

    Raises:
        DamagedError: it is not what was written.
        RefusedError: it holds something else than its manifest lists.
        ScriptError: what comes out can't be written.
    """
    import zstandard

    reader = _Reader(archive, progress)
    try:
        for entry in archive.manifest.entries:
            reader.expect_header(entry)
            if entry.folder:
                sink.folder(entry)
            else:
                sink.file(entry, reader.content(entry))
        reader.expect_end()
    except zstandard.ZstdError as problem:
        raise DamagedError(f"damaged: the compressed tar can't be unpacked: {problem}") from problem
    except OSError as problem:
        where = problem.filename or "what comes out of the archive"
        raise ScriptError(f"can't write {where}: {reason_of(problem)}: free space") from problem


class _Reader:
    """The uncompressed tar of an archive, never more of it than the manifest announces."""

    def __init__(self, archive: Archive, progress: Callable[[int], None]) -> None:
        import zstandard

        self._archive, self._progress = archive, progress
        self._packed = ChunkReader(archive.packed())
        decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT_BYTES)
        # Frames behind the first would be more tar than announced, which expect_end refuses.
        self._tar = decompressor.stream_reader(
            cast("BinaryIO", self._packed), read_across_frames=True
        )
        self._hash, self._count = hashlib.sha256(), 0

    def expect_header(self, entry: Entry) -> None:
        wanted = header(entry)
        got = self._read(len(wanted))
        if got != wanted:
            kind = "a folder" if entry.folder else f"a regular file of {entry.length} bytes"
            raise RefusedError(
                f"expected the entry {shown(entry.path)} ({kind}, mode {entry.mode:04o}), "
                f"got {_described(got)}"
            )

    def content(self, entry: Entry) -> Iterator[bytes]:
        digest, left = hashlib.sha256(), entry.length
        while left:
            block = self._read(min(BLOCK_BYTES, left))
            digest.update(block)
            left -= len(block)
            yield block
        if digest.hexdigest() != entry.sha256:
            raise RefusedError(
                f"{shown(entry.path)}: expected the SHA-256 {entry.sha256}, "
                f"got {digest.hexdigest()}"
            )
        if any(self._read(len(padding(entry.length)))):
            raise RefusedError(f"{shown(entry.path)}: expected zeros behind it, got something")
        self._progress(self._count)

    def expect_end(self) -> None:
        got = self._read(len(END))
        if got != END:
            raise RefusedError(f"expected the end of the tar, got {_described(got)}")
        if self._tar.read(1) or self._packed.read(1):
            raise RefusedError("expected the end of the tar, got more behind it")
        manifest = self._archive.manifest
        if self._hash.hexdigest() != manifest.tar_sha256:
            raise RefusedError(
                f"expected a tar with the SHA-256 {manifest.tar_sha256}, "
                f"got {self._hash.hexdigest()}"
            )

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length and (part := self._tar.read(length - len(data))):
            data += part
        if len(data) < length:
            raise RefusedError(
                f"expected a tar of {self._archive.manifest.tar_size_bytes} bytes, "
                f"got {self._count + len(data)}"
            )
        self._hash.update(data)
        self._count += length
        return data


def _described(data: bytes) -> str:
    """What a tar header that was not expected holds."""
    import tarfile

    try:
        found = tarfile.TarInfo.frombuf(data[-TAR_BLOCK:], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return "no tar header" if any(data) else "the end of the tar"
    kinds = (
        (found.isreg(), f"a regular file of {found.size} bytes"),
        (found.isdir(), "a folder"),
        (found.issym(), "a symbolic link"),
        (found.islnk(), "a hard link"),
        (found.isdev(), "a device or FIFO"),
    )
    kind = next((words for is_it, words in kinds if is_it), "an entry of another kind")
    return f"{shown(found.name)} ({kind}, mode {found.mode:04o})"
