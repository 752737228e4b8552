"""What the harness reads and sends (H5): commits, folders, URLs; the tar and the answer."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from common.cli import ConfigurationError, UsageError
from pack import git, repository
from pack.archive import make_archive
from pack.repository import read_repository

if TYPE_CHECKING:
    from pathlib import Path

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX links, names or programs")


def run_git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git work tree with one commit."""
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "README.md").write_bytes(b"# Project\n")
    (folder / "src/main.go").write_bytes(b"package main\n")
    run_git(folder, "init", "--quiet", "--initial-branch=main")
    run_git(folder, "add", ".")
    run_git(folder, "commit", "--quiet", "--message=first")
    return folder


def test_a_work_tree_is_read_at_its_commit(checkout: Path) -> None:
    """What is not committed is in nobody else's copy."""
    (checkout / "README.md").write_bytes(b"changed\n")
    (checkout / "private.txt").write_bytes(b"not tracked\n")
    found = read_repository(str(checkout))
    assert found.files == {"README.md": b"# Project\n", "src/main.go": b"package main\n"}
    assert found.commit
    assert found.name == "project"


def test_a_folder_of_a_work_tree_is_read_alone(checkout: Path) -> None:
    assert read_repository(str(checkout / "src")).files == {"main.go": b"package main\n"}


@posix
def test_links_of_a_commit_are_not_followed(checkout: Path) -> None:
    (checkout / "link").symlink_to("/etc/passwd")
    run_git(checkout, "add", "link")
    run_git(checkout, "commit", "--quiet", "--message=link")
    assert "link" not in read_repository(str(checkout)).files


def test_a_work_tree_without_a_commit_says_so(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "--quiet")
    with pytest.raises(ConfigurationError, match="no commit yet: commit first"):
        read_repository(str(tmp_path))


@posix
def test_a_plain_folder_is_read_without_links_and_private_folders(tmp_path: Path) -> None:
    for path in ("a.txt", "secrets/token", "node_modules/x.js", "b/c.txt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(path.encode())
    (tmp_path / "link").symlink_to("a.txt")
    found = read_repository(str(tmp_path))
    assert found.files == {"a.txt": b"a.txt", "b/c.txt": b"b/c.txt"}
    assert found.commit is None


@posix
def test_an_odd_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a\nb").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="expected a plain UTF-8 path"):
        read_repository(str(tmp_path))


def test_too_much_is_refused(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/a.txt").write_bytes(b"x" * 100)
    monkeypatch.setattr(repository, "SIZE_LIMIT_BYTES", 20)
    for source in (checkout, tmp_path / "plain"):
        with pytest.raises((ConfigurationError, Exception), match="expected at most 20 bytes"):
            read_repository(str(source))


@pytest.mark.parametrize(
    "source",
    [
        "file:///etc",
        "ext::sh -c id",
        "git://host/repo",
        "ftp://host/repo",
        "https://",
        "https://-oProxyCommand=id/repo",
        "ssh://-oProxyCommand=id/repo",
        "https://ho st/repo",
        "--upload-pack=id",
        "-c",
        "",
    ],
)
def test_a_source_that_git_must_not_get_is_refused(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UsageError, ConfigurationError), match="expected"):
        read_repository(source)


def test_a_password_in_a_url_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "CLONE_SECONDS", 20.0)
    with pytest.raises(ConfigurationError) as refusal:
        read_repository("http://user:not-to-be-said@127.0.0.1:1/repo.git")
    assert "can't clone http://127.0.0.1:1/repo.git" in str(refusal.value)
    assert "not-to-be-said" not in str(refusal.value)


@posix
def test_a_url_is_cloned(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a fake ssh that runs the far end here: no network, and git for real."""
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(f"#!{sys.executable}\nimport os, sys\nos.system(sys.argv[-1])\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}{os.pathsep}{os.environ['PATH']}")
    for url in (f"ssh://host{checkout}", f"git@host:{checkout}"):
        found = read_repository(url)
        assert found == read_repository(str(checkout))


@posix
def test_a_clone_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nexec sleep 30\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(git, "CLONE_SECONDS", 0.3)
    with pytest.raises(ConfigurationError, match=r"not done within 0\.3 s"):
        read_repository("ssh://host/repository.git")


def test_the_tar_does_not_depend_on_times_or_modes(tmp_path: Path) -> None:
    archives = []
    for name, mode, when in (("a", 0o600, 1), ("b", 0o755, 2_000_000_000)):
        for path in ("x.txt", "ü.txt", "long" * 40 + ".txt"):
            file = tmp_path / name / path
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"text\n")
            file.chmod(mode)
            os.utime(file, (when, when))
        archives.append(make_archive(read_repository(str(tmp_path / name)).files))
    assert archives[0] == archives[1]
