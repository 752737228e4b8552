"""Archives of somebody who can make every hash right: what is in them never gets out (G4)."""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from backup_cases import Shop, digest_of, forge, whole_tar, write_forged

from backup.archive import Archive
from backup.entries import END, Entry, header, padding, tar_bytes
from backup.errors import DamagedError, RefusedError
from backup.manifest import parse
from backup.restore import restore_into, verify_archive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="backups need POSIX")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good archive."""
    return Shop(tmp_path_factory.mktemp("shop")).back_up().path


def refused(path: Path, folder: Path) -> str:
    """Why nothing of the archive may be restored, from the verification and from a restore.

    What is refused when it is unpacked leaves nothing behind either: a restore that skipped the
    verification would be refused at the same place.
    """
    with pytest.raises((RefusedError, DamagedError)) as first, Archive.open(path) as archive:
        verify_archive(archive)
    with pytest.raises((RefusedError, DamagedError)), Archive.open(path) as archive:
        restore_into(archive, folder / "into", archive.manifest.stores)
    assert sorted(item.name for item in folder.iterdir()) == [path.name]
    return str(first.value)


def swapped(kind: bytes, **changes: Any) -> Callable[[Sequence[Entry], bytes], bytes]:
    """A tar in which one file's header says another kind, as tarfile writes it."""

    def change(entries: Sequence[Entry], plain: bytes) -> bytes:
        entry = next(item for item in entries if item.path == "uploads/nothing")
        info = tarfile.TarInfo(str(changes.get("name", entry.path)))
        info.type, info.mode = kind, entry.mode
        info.linkname = str(changes.get("linkname", ""))
        old, new = header(entry), info.tobuf(tarfile.USTAR_FORMAT)
        assert plain.count(old) == 1
        return plain.replace(old, new)

    return change


TARS: dict[str, tuple[Callable[[Sequence[Entry], bytes], bytes], str]] = {
    "symbolic link": (swapped(tarfile.SYMTYPE, linkname="/etc/passwd"), "a symbolic link"),
    "hard link": (swapped(tarfile.LNKTYPE, linkname="/etc/passwd"), "a hard link"),
    "character device": (swapped(tarfile.CHRTYPE), "a device or FIFO"),
    "block device": (swapped(tarfile.BLKTYPE), "a device or FIFO"),
    "FIFO": (swapped(tarfile.FIFOTYPE), "a device or FIFO"),
    "traversal": (swapped(tarfile.REGTYPE, name="uploads/../../x"), "'uploads/../../x'"),
    "absolute": (swapped(tarfile.REGTYPE, name="/x"), "'/x'"),
    "sparse": (swapped(tarfile.GNUTYPE_SPARSE), "got 'uploads/nothing'"),
    "one more entry": (
        lambda _, plain: plain[: -len(END)] + header(Entry("uploads/zz", 0o600, 0)) + END,
        "expected the end of the tar",
    ),
    "an entry twice": (
        lambda entries, plain: plain[: -len(END)] + header(entries[-1]) + END,
        "expected the end of the tar",
    ),
    "an entry less": (
        lambda entries, plain: plain.replace(
            header(next(item for item in entries if item.path == "uploads/nothing")), b""
        ),
        "expected the entry 'uploads/nothing'",
    ),
    "trailing garbage": (lambda _, plain: plain + b"x" * 512, "got more behind it"),
    "a second tar": (lambda _, plain: plain + plain, "got more behind it"),
    "cut": (lambda _, plain: plain[:-1], "expected a tar of"),
    "another content": (
        lambda _, plain: plain.replace(b"one\n", b"two\n"),
        "expected the SHA-256",
    ),
    "something in the padding": (
        lambda _, plain: plain.replace(b"one\n\0", b"one\nx"),
        "expected zeros",
    ),
    "no tar at all": (lambda _, _plain: b"", "expected a tar of"),
}


@pytest.mark.parametrize("name", TARS)
def test_a_tar_that_is_not_what_the_manifest_lists_is_refused(
    name: str, good: Path, tmp_path: Path
) -> None:
    change, said = TARS[name]
    assert said in refused(forge(good, tmp_path / "bad.tar.zst", tar=change), tmp_path)


def entry_of(path: str, sha256: str = "", size: int | None = 0) -> dict[str, Any]:
    """A file's, or a folder's, entry in a manifest."""
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    value: dict[str, Any] = {"path": path, "mode": "0600"}
    return value if size is None else {**value, "size_bytes": size, "sha256": sha256 or empty}


# What is added to the store `uploads` of a manifest.
PATHS: dict[str, tuple[list[str], str]] = {
    "traversal": (["uploads/../../escaped"], "relative path of plain names"),
    "a dot": (["uploads/./x"], "relative path of plain names"),
    "absolute": (["/escaped"], "own folder"),
    "an empty part": (["uploads//x"], "relative path of plain names"),
    "backslash": (["uploads/..\\x"], "relative path of plain names"),
    "control character": (["uploads/x\n"], "relative path of plain names"),
    "zero byte": (["uploads/x\0y"], "relative path of plain names"),
    "twice": (["uploads/x", "uploads/x"], "expected names that differ"),
    "case twin": (["uploads/X", "uploads/x"], "expected names that differ"),
    "accent twin": (["uploads/e\u0301"], "expected names that differ"),
    "no folder": (["uploads/nowhere/x"], "expected the folder of"),
    "a file as folder": (["uploads/nothing/x"], "expected the folder of"),
    "another store's": (["orders/x"], "own folder"),
    "too long": (["uploads/" + "x" * 300], "a path that a file system takes"),
    "too deep": (["uploads/" + "/".join("x" * 200)], "a path that a file system takes"),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_path_of_the_manifest_that_leads_elsewhere_is_refused(
    name: str, good: Path, tmp_path: Path
) -> None:
    paths, said = PATHS[name]

    def change(value: dict[str, Any]) -> None:
        store = value["stores"][1]
        store["files"] += [entry_of(path) for path in paths]
        store["digest"] = digest_of(store)

    assert said in refused(forge(good, tmp_path / "bad.tar.zst", manifest=change), tmp_path)


MANIFESTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a newer format": (lambda value: value.update(schema="backup_manifest/2"), "newer Proof Pack"),
    "another format": (lambda value: value.update(schema="run_summary/1"), "expected"),
    "an unknown key": (lambda value: value.update(more=1), "unknown key 'more'"),
    "no such day": (
        lambda value: value.update(recovery_point_utc="2026-13-41T00:00:00.000Z"),
        "expected a time",
    ),
    "no stores": (lambda value: value.update(stores=[]), "at least 1"),
    "another digest": (lambda value: value["stores"][0].update(digest="0" * 64), "the digest"),
    "another tar hash": (lambda value: value["tar"].update(sha256="0" * 64), "with the SHA-256"),
    "a larger tar": (lambda value: value["tar"].update(size_bytes=1 << 50), "expected a tar of"),
    "a kind without an adapter": (
        lambda value: value["stores"][1].update(kind="tape"),
        "expected sqlite or directory, got tape",
    ),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_contradicts_itself_is_refused(
    name: str, good: Path, tmp_path: Path
) -> None:
    change, said = MANIFESTS[name]
    assert said in refused(forge(good, tmp_path / "bad.tar.zst", manifest=change), tmp_path)


@pytest.mark.parametrize("path", ["uploads/" + chr(0xD800), "uploads/" + chr(0xDCFF)])
def test_half_a_letter_is_no_name(path: str, good: Path) -> None:
    with Archive.open(good) as archive:
        value = json.loads(json.dumps(archive.manifest.value))
    value["stores"][1]["files"].append(entry_of(path))
    with pytest.raises(RefusedError, match="in UTF-8"):
        parse(json.dumps(value).encode())


@pytest.mark.parametrize(("announced", "there"), [(10, 2_000_000), (2_000_000, 10)])
def test_a_file_longer_or_shorter_than_announced_is_refused(
    announced: int, there: int, good: Path, tmp_path: Path
) -> None:
    """Also what protects from a bomb: no more is unpacked than the manifest says."""
    root = Entry("uploads", 0o700)
    entries = [root, Entry("uploads/x", 0o600, announced, "0" * 64)]
    plain = whole_tar([root, replace(entries[1], size_bytes=there)], {"uploads/x": bytes(there)})
    with Archive.open(good) as archive:
        value = json.loads(json.dumps(archive.manifest.value))
    store = value["stores"][1]
    store["folders"], store["files"] = [root.as_json()], [entries[1].as_json()]
    store["digest"] = digest_of(store)
    value["stores"], value["tar"]["size_bytes"] = [store], tar_bytes(entries)
    said = refused(write_forged(tmp_path / "bad.tar.zst", plain, value), tmp_path)
    assert "expected the entry 'uploads/x'" in said


def test_a_frame_behind_the_first_is_refused(good: Path, tmp_path: Path) -> None:
    with Archive.open(good) as archive:
        packed, value = b"".join(archive.packed()), dict(archive.manifest.value)
    plain = zstandard.ZstdDecompressor().decompress(packed)
    behind = zstandard.ZstdCompressor().compress(b"more")
    said = refused(write_forged(tmp_path / "bad.tar.zst", plain, value, behind), tmp_path)
    assert "got more behind it" in said


def test_what_is_no_zstd_is_refused(good: Path, tmp_path: Path) -> None:
    with Archive.open(good) as archive:
        value = dict(archive.manifest.value)
    path = write_forged(tmp_path / "bad.tar.zst", b"", value, b"PK\3\4 this is a zip")
    assert "can't be unpacked" in refused(path, tmp_path)


def test_a_link_planted_while_unpacking_is_not_followed(tmp_path: Path) -> None:
    from backup.unpack import NewFolder

    (tmp_path / "outside").mkdir()
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "uploads").symlink_to(tmp_path / "outside")
    sink = NewFolder(tmp_path / "into")
    with pytest.raises(OSError, match=r"Not a directory|symbolic"):
        sink.file(Entry("uploads/x", 0o600, 1), iter([b"x"]))
    with pytest.raises(FileExistsError):
        sink.folder(Entry("uploads", 0o700))
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    from backup.unpack import NewFolder

    (tmp_path / "x").write_text("old")
    with pytest.raises(FileExistsError):
        NewFolder(tmp_path).file(Entry("x", 0o600, 1), iter([b"x"]))
    assert (tmp_path / "x").read_text() == "old"


def test_the_headers_are_those_that_tar_reads() -> None:
    """Long and accented names, and sizes that ustar can't say, go through pax headers."""
    entries = [
        Entry("s", 0o750),
        Entry("s/" + "long" * 40, 0o600, 3),
        Entry("s/plain", 0o640, 700),
        Entry("s/é" * 30, 0o600, 0),
    ]
    contents = {entries[1].path: b"abc", entries[2].path: b"x" * 700}
    plain = whole_tar(entries, contents)
    assert len(plain) == tar_bytes(entries)
    with tarfile.open(fileobj=io.BytesIO(plain)) as found:
        infos = found.getmembers()
        assert [item.name for item in infos] == [entry.path for entry in entries]
        assert [item.mode for item in infos] == [entry.mode for entry in entries]
        assert [item.size for item in infos] == [entry.length for entry in entries]
        assert {(item.uid, item.gid, item.mtime) for item in infos} == {(0, 0, 0)}
        stream = found.extractfile(infos[1])
        assert stream is not None
        assert stream.read() == b"abc"
    large = tarfile.TarInfo.frombuf(header(Entry("big", 0o600, 8**11))[:512], "utf-8", "strict")
    assert large.type == tarfile.XHDTYPE
    assert b" size=8589934592\n" in header(Entry("big", 0o600, 8**11))
    assert padding(512) == b""
