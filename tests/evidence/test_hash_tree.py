"""evidence.hash_tree: two processes and threads give what one plain loop gives."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from evidence import hash_tree
from evidence.hash_tree import TreeHashing

if TYPE_CHECKING:
    from pathlib import Path


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


def test_a_file_that_vanished_is_named(folder: Path) -> None:
    hashing = TreeHashing(str(folder))
    (folder / "large.bin").unlink()
    digests, problems = hashing.finish()
    assert "large.bin" not in digests
    assert problems == ["'large.bin': expected a readable file, got: no such file or directory"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        TreeHashing(str(tmp_path / "none"))
