"""The one format of a backup: `tar in zstd | manifest | trailer` in one file.

Manifest and trailer are skippable frames of zstd (RFC 8878, 3.1.2), so that `zstd -dc FILE | tar
-x` also opens it; they stand at the end because only then the content is known. The trailer
holds both lengths and both hashes: no byte of the file is without a check. An encrypted archive
is the same bytes in chunks (backup/encryption.py).
"""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from backup import manifest as manifests
from backup.encryption import MAGIC as ENCRYPTED
from backup.encryption import EncryptedSource, EncryptingWriter
from backup.entries import END, header, padding, tar_bytes
from backup.errors import DamagedError, reason_of
from common.cli import ConfigurationError, UsageError
from common.hashing import BLOCK_BYTES, open_unfollowed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO, Self

    from backup.encryption import Source, Writable
    from backup.entries import Entry
    from backup.manifest import Manifest

MANIFEST_LIMIT_BYTES = 256 << 20
LEVEL = 1
_FRAME = struct.Struct("<II")
_MANIFEST_FRAME, _TRAILER_FRAME = 0x184D2A50, 0x184D2A51
_TRAILER = struct.Struct("<8sQQ32s32s")
_MAGIC = b"PPBACKUP"
TRAILER_BYTES = _FRAME.size + _TRAILER.size


class HashingWriter:
    """Passes bytes on, hashes and counts them."""

    def __init__(self, target: Writable) -> None:
        """See the class."""
        self._target, self._hash, self.count = target, hashlib.sha256(), 0

    def write(self, data: bytes, /) -> int:
        """Take all of it."""
        self._hash.update(data)
        self._target.write(data)
        self.count += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back; zstandard's writer asks."""

    def digest(self) -> bytes:
        """The SHA-256 of what was written so far."""
        return self._hash.digest()


def write_archive(
    stream: BinaryIO,
    entries: Iterable[Entry],
    content: Callable[[Entry], BinaryIO],
    finish: Callable[[list[Entry], Mapping[str, object]], bytes],
    *,
    key: bytes | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Write one archive; the caller syncs the stream.

    Args:
        stream: empty, open for writing.
        entries: in order, with sizes; hashes are found here.
        content: opens the content of a file.
        finish: makes the manifest out of the entries, now with hashes, and the tar's figures.
        key: encrypts with it.
        progress: told the bytes of content so far.

    Raises:
        OSError: it can't be written.
        ScriptError: a content is not as long as its entry says.
    """
    import zstandard

    entries = [*entries]
    target = EncryptingWriter(stream, key) if key is not None else stream
    packed = HashingWriter(target)
    size = tar_bytes(entries)
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
    with compressor.stream_writer(cast("BinaryIO", packed), size=size, closefd=False) as compressed:
        tar = HashingWriter(compressed)
        hashed = [_write_entry(tar, entry, content, progress) for entry in entries]
        tar.write(END)
    manifest = finish(hashed, {"sha256": tar.digest().hex(), "size_bytes": tar.count})
    target.write(_FRAME.pack(_MANIFEST_FRAME, len(manifest)) + manifest)
    digest = hashlib.sha256(manifest).digest()
    trailer = _TRAILER.pack(_MAGIC, packed.count, len(manifest), packed.digest(), digest)
    target.write(_FRAME.pack(_TRAILER_FRAME, len(trailer)) + trailer)
    if isinstance(target, EncryptingWriter):
        target.close()


def _write_entry(
    tar: HashingWriter,
    entry: Entry,
    content: Callable[[Entry], BinaryIO],
    progress: Callable[[int], None],
) -> Entry:
    from dataclasses import replace

    from common.cli import ScriptError

    tar.write(header(entry))
    if entry.folder:
        return entry
    digest, length = hashlib.sha256(), 0
    with content(entry) as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
            tar.write(block)
            length += len(block)
            progress(tar.count)
    if length != entry.length:
        raise ScriptError(f"{entry.path}: expected {entry.length} bytes, got {length}: try again")
    tar.write(padding(length))
    return replace(entry, sha256=digest.hexdigest())


class FileSource:
    """An open file, read where one wants."""

    def __init__(self, handle: int) -> None:
        """See the class."""
        self._handle, self.size = handle, os.fstat(handle).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        """The bytes from `offset` on; fewer only at the end."""
        found = bytearray()
        while len(found) < length:
            part = os.pread(self._handle, length - len(found), offset + len(found))
            if not part:
                break
            found += part
        return bytes(found)


@dataclass(frozen=True)
class Archive:
    """An archive whose manifest is the one that was written; its content is not read yet."""

    source: Source
    manifest: Manifest
    tar_frame_bytes: int
    tar_frame_sha256: bytes
    encrypted: bool
    handle: int

    @classmethod
    def open(cls, path: Path, key: bytes | None = None) -> Self:
        """Open an archive and check its trailer and its manifest.

        Raises:
            UsageError: no such file, or not a regular one.
            ConfigurationError: encrypted, and the key is missing or another one.
            DamagedError: damaged, or no archive at all.
            RefusedError: the manifest contradicts itself, or is of a newer format.
        """
        try:
            handle = open_unfollowed(path)
        except OSError as problem:
            raise UsageError(f"{path}: can't open the archive: {reason_of(problem)}") from problem
        try:
            source, encrypted = _source(handle, key)
            return cls(source, *_ends(source), encrypted, handle)
        except BaseException:
            os.close(handle)
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self.handle)

    def __enter__(self) -> Self:
        """Open already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def packed(self) -> Iterator[bytes]:
        """The compressed tar, in blocks.

        Raises:
            DamagedError: at its end, where it is not what was written.
        """
        digest, offset = hashlib.sha256(), 0
        while offset < self.tar_frame_bytes:
            block = self.source.read_at(offset, min(BLOCK_BYTES, self.tar_frame_bytes - offset))
            if not block:
                raise DamagedError("damaged: the archive became shorter while it was read")
            digest.update(block)
            offset += len(block)
            yield block
        if digest.digest() != self.tar_frame_sha256:
            raise DamagedError("damaged: the compressed tar is not the one that was written")

    def check_bytes(self) -> None:
        """Hold every byte against the hashes of the trailer, without unpacking any.

        Raises:
            DamagedError: one is another.
        """
        for _ in self.packed():
            pass


def is_encrypted(path: Path) -> bool:
    """Whether a file begins like an encrypted archive."""
    with path.open("rb") as stream:
        return stream.read(len(ENCRYPTED)) == ENCRYPTED


def _source(handle: int, key: bytes | None) -> tuple[Source, bool]:
    import stat

    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise UsageError("expected an archive, got another kind of file")
    plain = FileSource(handle)
    if plain.read_at(0, len(ENCRYPTED)) != ENCRYPTED:
        return plain, False
    if key is None:
        raise ConfigurationError("the archive is encrypted: give its key as --encrypt-key FILE")
    return EncryptedSource(plain, key), True


def _ends(source: Source) -> tuple[Manifest, int, bytes]:
    """Manifest, length and hash of the compressed tar, all of them checked."""
    tail = source.read_at(max(0, source.size - TRAILER_BYTES), TRAILER_BYTES)
    if len(tail) < TRAILER_BYTES or not tail.startswith(_trailer_start()):
        raise DamagedError(
            "damaged: expected an archive with its trailer, got none: cut or foreign"
        )
    _, tar_length, length, tar_sha256, sha256 = _TRAILER.unpack(tail[_FRAME.size :])
    whole = tar_length + _FRAME.size + length + TRAILER_BYTES
    if length > MANIFEST_LIMIT_BYTES or whole != source.size:
        raise DamagedError(f"damaged: expected {whole} bytes, got {source.size}")
    frame = source.read_at(tar_length, _FRAME.size + length)
    data = frame[_FRAME.size :]
    intact = frame.startswith(_FRAME.pack(_MANIFEST_FRAME, length))
    if not intact or hashlib.sha256(data).digest() != sha256:
        raise DamagedError("damaged: the manifest is not the one that was written")
    return manifests.parse(data), tar_length, tar_sha256


def _trailer_start() -> bytes:
    return _FRAME.pack(_TRAILER_FRAME, _TRAILER.size) + _MAGIC
