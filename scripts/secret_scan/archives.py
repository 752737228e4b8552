"""What archives hold, member by member: read strictly, within bounds, nothing written to disk
but a spool file of bounded size.
"""

from __future__ import annotations

import contextlib
import struct
import tempfile
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

from secret_scan.streams import CHUNK_BYTES, UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secret_scan.streams import Budget, Stream

_BLOCK = 512
_LONGEST_NAME_BYTES = 64 << 10
_SPOOL_MEMORY_BYTES = 8 << 20
_MOST_MEMBERS = 100_000
_LARGEST_DIRECTORY_BYTES = 32 << 20
_END = struct.Struct("<4s4H2LH")
_END_SEARCH_BYTES = _END.size + 0xFFFF
_ENCRYPTED = 1
_NO_COUNT, _NO_SIZE = 0xFFFF, 0xFFFFFFFF

_WITHOUT_CONTENT = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
_REGULAR = frozenset({b"0", b"\0", b"7", b"S"})
_LONG_NAME, _PAX, _IGNORED = b"L", frozenset({b"x", b"X"}), frozenset({b"g", b"K"})


def tar_members(stream: Stream, budget: Budget) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Each regular file of a tar: its name, and its bytes, which have to be read in turn.

    Raises:
        UnreadableError: a header that is none, an end too early, or too much of anything.
    """
    name: str | None = None
    size: int | None = None
    while any(header := _header(stream)):
        kind, length = header[156:157], _number(header[124:136])
        if kind == _LONG_NAME or kind in _PAX | _IGNORED:
            data = _small(stream, length)
            if kind == _LONG_NAME:
                name = _text(data.rstrip(b"\0"))
            elif kind in _PAX:
                fields = _pax(data)
                name = fields.get("path", name)
                size = int(fields["size"]) if fields.get("size", "").isdigit() else size
            continue
        length = length if size is None else size
        length = 0 if kind in _WITHOUT_CONTENT else length
        if kind in _REGULAR:
            budget.take_member()
            rest = [length]
            yield name or _name(header), _portion(stream, rest, budget)
            for _ in _portion(stream, rest, budget):
                pass  # what the reader left
            _exactly(stream, -length % _BLOCK)
        else:
            _skip(stream, length + -length % _BLOCK)
        name, size = None, None


def _portion(stream: Stream, rest: list[int], budget: Budget) -> Iterator[bytes]:
    while rest[0] > 0:
        chunk = stream.read(min(CHUNK_BYTES, rest[0]))
        if not chunk:
            raise UnreadableError("the tar archive is cut off")
        rest[0] -= len(chunk)
        budget.take(len(chunk))
        yield chunk


def _header(stream: Stream) -> bytes:
    header = stream.read(_BLOCK)
    if len(header) not in {0, _BLOCK}:
        raise UnreadableError("the tar archive is cut off")
    return header


def _exactly(stream: Stream, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise UnreadableError("the tar archive is cut off")
    return data


def _small(stream: Stream, length: int) -> bytes:
    if length > _LONGEST_NAME_BYTES:
        raise UnreadableError(f"a tar header of {length} bytes: expected 65536 at most")
    return _exactly(stream, length + -length % _BLOCK)[:length]


def _skip(stream: Stream, count: int) -> None:
    while count > 0:
        chunk = stream.read(min(CHUNK_BYTES, count))
        if not chunk:
            raise UnreadableError("the tar archive is cut off")
        count -= len(chunk)


def _number(raw: bytes) -> int:
    if raw[:1] == b"\x80":  # GNU's binary form of large numbers
        return int.from_bytes(raw[1:], "big")
    text = raw.strip(b"\0 ")
    try:
        value = int(text or b"0", 8)
    except ValueError as problem:
        raise UnreadableError("no tar header where one has to be") from problem
    return value


def _name(header: bytes) -> str:
    name, prefix = header[:100].split(b"\0")[0], header[345:500].split(b"\0")[0]
    is_posix = header[257:263] == b"ustar\0"
    return _text(prefix + b"/" + name if is_posix and prefix else name)


def _pax(data: bytes) -> dict[str, str]:
    fields = {}
    while data:
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(data):
            break
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        fields[_text(key)] = _text(value)
        data = data[int(length) :]
    return fields


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def zip_members(stream: Stream, budget: Budget) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Each file of a zip.

    Raises:
        UnreadableError: no directory of members, or too many of them. A member that is
            encrypted or damaged raises it when it is read; the others can still be.
    """
    with contextlib.ExitStack() as stack:
        file = _seekable(stream, budget, stack)
        _check_directory(file)
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as problem:
            raise UnreadableError(f"damaged zip archive: {str(problem)[:80]}") from problem
        for member in archive.infolist():
            if not member.is_dir():
                budget.take_member()
                yield member.filename, _zip_member(archive, member, budget)


def _seekable(stream: Stream, budget: Budget, stack: contextlib.ExitStack) -> BinaryIO:
    if stream.seekable():
        return cast("BinaryIO", stream)
    spool = tempfile.SpooledTemporaryFile(_SPOOL_MEMORY_BYTES)  # noqa: SIM115 - the stack closes it
    stack.enter_context(spool)
    while chunk := stream.read(CHUNK_BYTES):
        budget.take(len(chunk))
        spool.write(chunk)
    spool.seek(0)
    return cast("BinaryIO", spool)


def _check_directory(file: BinaryIO) -> None:
    # zipfile reads the whole directory into memory: look first how long it says it is.
    length = file.seek(0, 2)
    file.seek(max(0, length - _END_SEARCH_BYTES))
    tail = file.read()
    file.seek(0)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise UnreadableError("damaged zip archive: no directory at its end")
    _, _, _, _, count, size, _, _ = _END.unpack_from(tail, at)
    if count > _MOST_MEMBERS or (size > _LARGEST_DIRECTORY_BYTES and size != _NO_SIZE):
        raise UnreadableError(f"holds more than {_MOST_MEMBERS} files")
    if (count == _NO_COUNT or size == _NO_SIZE) and length > _LARGEST_DIRECTORY_BYTES:
        raise UnreadableError("a zip archive of the 64-bit form with a directory of unknown size")


def _zip_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget
) -> Iterator[bytes]:
    if member.flag_bits & _ENCRYPTED:
        raise UnreadableError("encrypted")
    try:
        with archive.open(member) as source:
            while chunk := source.read(CHUNK_BYTES):
                budget.take(len(chunk))
                yield chunk
    except (
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,
        NotImplementedError,
        OSError,
        EOFError,
        ValueError,
    ) as problem:
        raise UnreadableError(str(problem)[:80].lower()) from problem
