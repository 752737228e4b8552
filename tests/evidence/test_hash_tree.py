"""evidence.hash_tree: two processes and threads give what one plain loop gives."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from pathlib import Path

import pytest

from common.hashing import sha256_file
from evidence import hash_tree
from evidence.hash_tree import TreeHashing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """700 small files, one empty, one above the block size."""
    root = tmp_path / "evidence"
    for number in range(700):
        path = root / f"{number % 7}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number))
    (root / "large.bin").write_bytes(os.urandom((1 << 20) + 1))
    return root


def plainly(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_file_has_the_digest_of_its_bytes(folder: Path) -> None:
    assert hash_tree.hash_tree(str(folder)) == (plainly(folder), [])


def test_without_a_second_process_it_is_the_same(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_tree, "_FORK_FILES", 1 << 60)
    assert hash_tree.hash_tree(str(folder)) == (plainly(folder), [])


@pytest.mark.skipif(sys.platform != "linux", reason="no fork there")
def test_a_killed_second_process_leaves_no_file_out(folder: Path) -> None:
    hashing = TreeHashing(str(folder))
    assert hashing._child
    os.kill(hashing._child, signal.SIGKILL)
    assert hashing.finish() == (plainly(folder), [])


def test_only_large_files_that_are_expected_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sparse file of terabytes costs nothing to add and hours to read."""
    (folder / "huge.bin").write_bytes(bytes(2 << 20))
    read: list[str] = []

    def sha256(path: str) -> str:
        read.append(path)
        return sha256_file(path)

    monkeypatch.setattr(hash_tree, "sha256_file", sha256)
    digests, problems = TreeHashing(str(folder)).finish(lambda: {"large.bin"})
    assert read == [f"{folder}/large.bin"]
    assert problems == ["expected no such file, got 'huge.bin': extra"]
    assert "huge.bin" not in digests
    assert len(digests) == 701


def test_small_files_do_not_wait_for_the_comparison(folder: Path) -> None:
    (folder / "large.bin").unlink()
    digests, problems = TreeHashing(str(folder)).finish(lambda: pytest.fail("was asked"))
    assert (len(digests), problems) == (700, [])


def test_large_files_are_bounded_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_tree, "LIMIT_BYTES", 1 << 20)
    monkeypatch.setattr(hash_tree, "sha256_file", lambda path: pytest.fail(f"{path} was read"))
    digests, problems = hash_tree.hash_tree(str(folder))
    assert problems == ["expected at most 1048576 bytes in large files, got 1048577: not read"]
    assert "large.bin" not in digests


@pytest.mark.skipif(sys.platform != "linux", reason="no fork there")
def test_what_is_not_finished_leaves_no_process_and_no_handle(folder: Path) -> None:
    handles = Path("/proc/self/fd")
    before = {path.name for path in handles.iterdir()}
    hashing = TreeHashing(str(folder))
    child = hashing._child
    assert child
    with pytest.raises(KeyError), hashing:
        raise KeyError
    with pytest.raises(ChildProcessError):
        os.waitpid(child, os.WNOHANG)
    assert {path.name for path in handles.iterdir()} == before


@pytest.mark.skipif(sys.platform != "linux", reason="no fork there")
def test_closing_after_the_end_changes_nothing(folder: Path) -> None:
    with TreeHashing(str(folder)) as hashing:
        assert hashing.finish() == (plainly(folder), [])
    hashing.close()


def test_a_file_that_vanished_is_named(folder: Path) -> None:
    hashing = TreeHashing(str(folder))
    (folder / "large.bin").unlink()
    digests, problems = hashing.finish()
    assert "large.bin" not in digests
    assert problems == ["'large.bin': expected a readable file, got: no such file or directory"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        TreeHashing(str(tmp_path / "none"))
