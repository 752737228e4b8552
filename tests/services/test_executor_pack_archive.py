"""The upload of a pack: each hostile tar is refused for its own reason, within its memory (H5)."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from services.executor.pack import archive as archive_module
from services.executor.pack import index as index_module
from services.executor.pack.archive import Archive, ArchiveError
from services.executor.pack.deadline import Deadline, TooSlowError
from services.executor.pack.headers import EXTENSION_LIMIT_BYTES
from services.executor.pack.index import Packer, TooManyChunksError, Wanted
from services.executor.pack.tokens import tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

MEBIBYTE = 1 << 20
ENDING = bytes(2 * tarfile.BLOCKSIZE)
PLAIN_ENTRY = ("a.txt", b"text\n")


def header(name: str, size_bytes: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size_bytes, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    return header(name, len(data), kind) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def pax(key: str, value: str) -> bytes:
    """One line of an extended header, which counts its own length."""
    length = len(key.encode()) + len(value.encode()) + 3
    length += len(str(length + len(str(length))))
    return f"{length} {key}={value}\n".encode()


def extended(key: str, value: str, kind: bytes = tarfile.XHDTYPE) -> bytes:
    return member("header", pax(key, value), kind)


def members_of(data: bytes) -> dict[str, bytes]:
    found = Archive(io.BytesIO(data), Deadline(60))
    return {item.path: found.read(item) for item in found.members}


def pack(data: bytes, budget_tokens: int = 10_000_000) -> bytes:
    deadline = Deadline(60)
    wanted = Wanted("repo", None, budget_tokens)
    counter = tokenizer("proof-pack-4k")
    return Packer(Archive(io.BytesIO(data), deadline), counter, wanted, deadline).index()


def tar_of(
    files: Sequence[tuple[str, bytes]], when: int = 0, form: int = tarfile.PAX_FORMAT
) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for path, data in files:
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime, entry.uname = len(data), when, "ü" if when else ""
            archive.addfile(entry, io.BytesIO(data))
    return target.getvalue()


A_FILE = member(*PLAIN_ENTRY)
BOMB = gzip.compress(bytes(8 * MEBIBYTE))
HOSTILE = {
    "symbolic_link": (header("a", kind=tarfile.SYMTYPE) + ENDING, "another kind"),
    "hard_link": (header("a", kind=tarfile.LNKTYPE) + ENDING, "another kind"),
    "character_device": (header("a", kind=tarfile.CHRTYPE) + ENDING, "another kind"),
    "block_device": (header("a", kind=tarfile.BLKTYPE) + ENDING, "another kind"),
    "fifo": (header("a", kind=tarfile.FIFOTYPE) + ENDING, "another kind"),
    "folder": (header("a", kind=tarfile.DIRTYPE) + ENDING, "another kind"),
    "sparse": (header("a", kind=tarfile.GNUTYPE_SPARSE) + ENDING, "another kind"),
    "long_link": (member("a", b"b", tarfile.GNUTYPE_LONGLINK) + ENDING, "another kind"),
    "unknown_kind": (header("a", kind=b"Z") + ENDING, "another kind"),
    "sparse_by_key": (extended("GNU.sparse.size", "9") + A_FILE + ENDING, "got more"),
    "size_by_key": (extended("size", "0") + A_FILE + ENDING, "got more"),
    "charset_by_key": (extended("hdrcharset", "BINARY") + A_FILE + ENDING, "got more"),
    "parent": (member("../a") + ENDING, "plain relative paths"),
    "parent_inside": (member("a/../../b") + ENDING, "plain relative paths"),
    "parent_by_key": (extended("path", "../a") + A_FILE + ENDING, "plain relative paths"),
    "parent_by_long_name": (
        member("x", b"../a\0", tarfile.GNUTYPE_LONGNAME) + A_FILE + ENDING,
        "plain relative paths",
    ),
    "absolute": (member("/etc/passwd") + ENDING, "plain relative paths"),
    "backslash": (member("a\\b") + ENDING, "plain relative paths"),
    "dot": (member("./a") + ENDING, "plain relative paths"),
    "no_name": (member("") + ENDING, "plain relative paths"),
    "null_in_a_name": (extended("path", "a\0b") + A_FILE + ENDING, "plain relative paths"),
    "name_too_long": (extended("path", "a" * 1_025) + A_FILE + ENDING, "plain relative paths"),
    "twice": (A_FILE + A_FILE + ENDING, "each path once"),
    "global_header": (
        extended("comment", "x", tarfile.XGLTYPE) + A_FILE + ENDING,
        "no global header",
    ),
    "long_extended_header": (
        extended("comment", "x" * EXTENSION_LIMIT_BYTES) + A_FILE + ENDING,
        "extended headers of at most",
    ),
    "long_long_name": (
        member("x", b"a" * (EXTENSION_LIMIT_BYTES + 1), tarfile.GNUTYPE_LONGNAME) + ENDING,
        "extended headers of at most",
    ),
    "two_extended_headers": (
        extended("path", "b") + extended("path", "c") + A_FILE + ENDING,
        "one extended header",
    ),
    "extended_header_of_nothing": (extended("path", "b") + ENDING, "a file after"),
    "broken_extended_header": (
        member("x", b"99 path=b\n", tarfile.XHDTYPE) + A_FILE + ENDING,
        "extended header in UTF-8",
    ),
    "long_name_not_utf_8": (
        member("x", b"\xff\0", tarfile.GNUTYPE_LONGNAME) + A_FILE + ENDING,
        "extended header in UTF-8",
    ),
    "name_not_utf_8": (
        tar_of([("\udcff", b"")], form=tarfile.GNU_FORMAT),
        "uncompressed tar",
    ),
    "wrong_checksum": (A_FILE.replace(b"a.txt", b"b.txt") + ENDING, "uncompressed tar"),
    "gzip_bomb": (BOMB, "uncompressed tar"),
    "no_tar": (b"hello" * 500, "uncompressed tar"),
    "negative_size": (header("a", -1) + ENDING, "cut off"),
    "larger_than_the_upload": (header("a", 1 << 40) + ENDING, "cut off"),
    "cut_in_a_file": (header("a", 5_000) + b"x" * 1_000, "cut off"),
    "cut_in_a_header": (A_FILE + header("b")[:100], "uncompressed tar"),
    "without_an_end": (A_FILE, "two empty blocks"),
    "empty": (b"", "two empty blocks"),
    "data_after_the_end": (A_FILE + ENDING + b"more", "nothing after the last file"),
    "a_tar_after_the_end": (A_FILE + ENDING + A_FILE + ENDING, "nothing after the last file"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tar_is_refused_for_its_own_reason(name: str) -> None:
    data, reason = HOSTILE[name]
    with pytest.raises(ArchiveError, match=rf"^expected .*{reason}"):
        members_of(data)


def test_one_file_more_than_an_archive_may_hold_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive_module, "MEMBER_LIMIT", 2)
    files = [(f"{number}.txt", b"x\n") for number in range(3)]
    assert len(members_of(tar_of(files[:2]))) == 2
    with pytest.raises(ArchiveError, match="expected at most 2 files, got more"):
        members_of(tar_of(files))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_usual_tars_are_read(form: int) -> None:
    """Long names, letters beyond ASCII, empty files; a path of ustar in two parts."""
    files = [(PLAIN_ENTRY[0], b""), ("f" * 80 + "/" + "n" * 80, b"x" * 513)]
    files += [] if form == tarfile.USTAR_FORMAT else [("ü" * 300 + ".txt", b"last")]
    assert members_of(tar_of(files, when=1, form=form)) == dict(files)


def test_a_header_of_many_keys_is_refused_before_it_is_read() -> None:
    """300 members with a copy of 100,000 global keys each were gigabytes."""
    keys = b"".join(pax(f"k{number}", "v") for number in range(100_000))
    empty = b"".join(member(f"{number}.txt") for number in range(300))
    for kind in (tarfile.XGLTYPE, tarfile.XHDTYPE):
        data = member("header", keys, kind) + empty + ENDING
        tracemalloc.start()
        try:
            with pytest.raises(ArchiveError, match="header"):
                Archive(io.BytesIO(data), Deadline(60))
            assert tracemalloc.get_traced_memory()[1] < 2 * len(data)
        finally:
            tracemalloc.stop()


def test_many_extended_headers_take_the_memory_of_one() -> None:
    line = pax("comment", "x" * 4_000)
    data = b"".join(
        member("h", line, tarfile.XHDTYPE) + member(f"{number}.txt") for number in range(1_000)
    )
    stream = io.BytesIO(data + ENDING)
    tracemalloc.start()
    try:
        assert len(Archive(stream, Deadline(60)).members) == 1_000
        assert tracemalloc.get_traced_memory()[1] < MEBIBYTE
    finally:
        tracemalloc.stop()


def test_the_time_runs_while_the_archive_is_read() -> None:
    with pytest.raises(TooSlowError, match="not ready within"):
        Archive(io.BytesIO(A_FILE + ENDING), Deadline(-1))


def test_more_chunks_than_an_index_may_hold_are_refused_within_their_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A megabyte of empty lines is 26,000 chunks."""
    assert index_module.CHUNK_LIMIT <= 50_000
    monkeypatch.setattr(index_module, "CHUNK_LIMIT", 1_000)
    data = tar_of([("a.txt", b"\n" * MEBIBYTE)])
    tracemalloc.start()
    try:
        with pytest.raises(TooManyChunksError, match="expected at most 1000 chunks, got more"):
            pack(data)
        assert tracemalloc.get_traced_memory()[1] < 128 * MEBIBYTE
    finally:
        tracemalloc.stop()


def test_as_many_chunks_as_an_index_may_hold_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tar_of([("a.txt", b"line\n" * 41)])
    monkeypatch.setattr(index_module, "CHUNK_LIMIT", 2)
    assert pack(data).count(b'"start_byte"') == 2
    monkeypatch.setattr(index_module, "CHUNK_LIMIT", 1)
    with pytest.raises(TooManyChunksError):
        pack(data)


def test_the_same_tree_gives_the_same_bytes() -> None:
    """Whatever the order, the times, the owners and the format of the tar."""
    files = [("b/main.py", b"print()\n" * 99), ("README.md", b"# Read\n"), ("ü.txt", b"text\n")]
    first = pack(tar_of(files), 500)
    assert first == pack(tar_of(files[::-1], when=99), 500)
    assert first == pack(tar_of(files, form=tarfile.GNU_FORMAT), 500)
    assert first != pack(tar_of([*files, ("other.txt", b"x\n")]), 500)
