"""What git must not be talked into when it reads a repository (H5)."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from common.cli import ConfigurationError
from pack.repository import read_repository

if TYPE_CHECKING:
    from pathlib import Path


def run_git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git work tree with one commit."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "a.txt").write_bytes(b"first\n")
    run_git(folder, "init", "--quiet")
    run_git(folder, "add", ".")
    run_git(folder, "commit", "--quiet", "--message=first")
    return folder


def test_a_replaced_object_does_not_change_what_a_commit_holds(checkout: Path) -> None:
    (checkout / "other.txt").write_bytes(b"other\n")
    old = run_git(checkout, "rev-parse", "HEAD:a.txt").strip()
    new = run_git(checkout, "hash-object", "-w", "other.txt").strip()
    run_git(checkout, "replace", old, new)
    assert read_repository(str(checkout)).files == {"a.txt": b"first\n"}


def test_variables_of_the_caller_do_not_reach_git(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_DIR", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert read_repository(str(checkout)).files == {"a.txt": b"first\n"}


def test_a_missing_blob_is_one_line(checkout: Path) -> None:
    name = run_git(checkout, "rev-parse", "HEAD:a.txt").strip()
    (checkout / ".git/objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(ConfigurationError, match=r"git can't (read|list)"):
        read_repository(str(checkout))


@pytest.mark.parametrize("below", [".", "folder"])
def test_a_checkout_that_git_refuses_is_not_read_as_a_plain_folder(
    below: str, tmp_path: Path
) -> None:
    """Its ignored files, such as .env, are secrets."""
    (tmp_path / ".git").write_text("gitdir: nowhere\n", encoding="ascii")
    (tmp_path / below).mkdir(exist_ok=True)
    (tmp_path / below / ".env").write_text("TOKEN=secret\n", encoding="ascii")
    with pytest.raises(ConfigurationError, match=r"git can't read .*not a git repository"):
        read_repository(str(tmp_path / below))
