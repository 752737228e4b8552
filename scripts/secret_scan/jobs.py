"""Pieces of work for a worker: some files, a part of a large file, some objects of git."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.hashing import open_unfollowed
from secret_scan.findings import Tally, Unread
from secret_scan.history import scan_objects
from secret_scan.judging import Place
from secret_scan.streams import CHUNK_BYTES, HEAD_BYTES, kind_of_bytes
from secret_scan.unpacking import scan_stream
from secret_scan.windows import BEFORE_BYTES, BEHIND_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secret_scan.history import ObjectRef
    from secret_scan.text_scan import TextScanner
    from secret_scan.tree import FileRef

WHOLE_BYTES = 1 << 20
_PLAIN = frozenset({"text", "binary"})


@dataclass(frozen=True)
class FilesJob:
    """Some files, each as a whole."""

    files: tuple[FileRef, ...]

    def run(self, scanner: TextScanner) -> Tally:
        """Scan them; one that can't be read is listed."""
        tally = Tally()
        for file in self.files:
            if scanner.is_excluded(file.name):
                tally.counts["excluded"] += 1
                continue
            tally.counts["files"] += 1
            tally.findings += scanner.by_path(Place(file.name))
            try:
                _scan_file(scanner, file, tally)
            except OSError as problem:
                tally.unread.append(Unread(file.name, (problem.strerror or str(problem)).lower()))
        return tally


@dataclass(frozen=True)
class SegmentJob:
    """A part of a large file that is neither packed nor encoded."""

    file: FileRef
    start: int
    end: int
    is_binary: bool

    def run(self, scanner: TextScanner) -> Tally:
        """Scan it; lines are counted from the part's own beginning."""
        tally = Tally()
        context = max(0, self.start - BEFORE_BYTES)
        try:
            with os.fdopen(_open(self.file.path), "rb", buffering=0) as stream:
                stream.seek(context)
                before = stream.read(self.start - context) or b""
                chunks = _limited(stream, self.end + BEHIND_BYTES - self.start)
                tally = scanner.scan(
                    chunks,
                    Place(self.file.name),
                    is_binary=self.is_binary,
                    before=before,
                    core_bytes=self.end - self.start,
                )
        except OSError as problem:
            tally.unread.append(Unread(self.file.name, (problem.strerror or str(problem)).lower()))
        if tally.counts["bytes"] != self.end - self.start and not tally.unread:
            tally.unread.append(Unread(self.file.name, "changed while it was read"))
        return tally


@dataclass(frozen=True)
class ObjectsJob:
    """Some objects of a git repository."""

    repository: str
    objects: tuple[ObjectRef, ...]

    def run(self, scanner: TextScanner) -> Tally:
        """Scan them."""
        return scan_objects(scanner, self.repository, self.objects)


Job = FilesJob | SegmentJob | ObjectsJob


def head_kind(file: FileRef) -> str | None:
    """What kind a file is by its beginning; None where it can't be read."""
    try:
        with os.fdopen(_open(file.path), "rb", buffering=0) as stream:
            return kind_of_bytes(stream.read(HEAD_BYTES) or b"")
    except OSError:
        return None


def is_plain(kind: str | None) -> bool:
    """Whether the bytes of such a file are scanned as they stand."""
    return kind in _PLAIN


def _open(path: str) -> int:
    handle = open_unfollowed(path)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "no regular file any more", path)
    return handle


def _scan_file(scanner: TextScanner, file: FileRef, tally: Tally) -> None:
    place = Place(file.name)
    with os.fdopen(_open(file.path), "rb", buffering=0) as raw:
        if file.size > WHOLE_BYTES:
            scan_stream(scanner, io.BufferedReader(raw, HEAD_BYTES), place, tally)
            return
        data = raw.read(WHOLE_BYTES + 1) or b""
        if len(data) > WHOLE_BYTES:  # it grew
            raw.seek(0)
            scan_stream(scanner, io.BufferedReader(raw, HEAD_BYTES), place, tally)
            return
    scan_bytes(scanner, data, place, tally)


def scan_bytes(scanner: TextScanner, data: bytes, place: Place, tally: Tally) -> None:
    """Scan what is in memory already."""
    kind = kind_of_bytes(data[:HEAD_BYTES])
    if kind in _PLAIN:
        scanner.scan_bytes(data, place, tally, is_binary=kind == "binary")
    else:
        stream = io.BufferedReader(io.BytesIO(data), HEAD_BYTES)
        scan_stream(scanner, stream, place, tally)


def _limited(stream: io.RawIOBase | io.FileIO, count: int) -> Iterator[bytes]:
    while count > 0 and (chunk := stream.read(min(count, CHUNK_BYTES))):
        count -= len(chunk)
        yield chunk
