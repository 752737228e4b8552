"""Git history: each object once, with the commit and the path where it first appears."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from made_secrets import Maker

from common.cli import UsageError
from secret_scan.fingerprint import FingerprintKey
from secret_scan.history import objects_of, repository_of
from secret_scan.scan import scan

if TYPE_CHECKING:
    from pathlib import Path

    from secret_scan.findings import ScanResult

KEY = FingerprintKey(b"k" * 32)


def git(folder: Path, *arguments: str) -> str:
    """Run git as nobody in particular."""
    who = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """An empty repository."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    return folder


def commit(folder: Path, name: str, text: str, message: str = "change") -> str:
    """Write one file and commit it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def scanned(folder: Path) -> ScanResult:
    """The history and the files of a repository."""
    return scan([folder], history=True, engine="re2", key=KEY, workers=1)


def token(seed: str) -> str:
    """A made-up token."""
    return Maker(seed).fill("ghp_{an:36}")


def test_a_removed_secret_is_found_where_it_first_appeared(repository: Path) -> None:
    commit(repository, "a.txt", "fine\n")
    first = commit(repository, "conf/x y.env", f"one\ntoken={token('a')}\n")
    commit(repository, "other.env", f"one\ntoken={token('a')}\n")  # the same blob again
    (repository / "conf/x y.env").unlink()
    (repository / "other.env").unlink()
    commit(repository, "a.txt", "fine again\n")
    (finding,) = scanned(repository).findings
    assert (finding.path, finding.commit, finding.line) == ("conf/x y.env", first, 2)


def test_a_secret_that_still_stands_is_reported_once(repository: Path) -> None:
    commit(repository, "a.env", f"token={token('a')}\n")
    (finding,) = scanned(repository).findings
    assert (finding.path, finding.commit) == ("a.env", None)


def test_each_object_comes_once(repository: Path) -> None:
    for number in range(5):
        commit(repository, f"{number % 2}.txt", f"{number % 3}\n")
    git_folder = repository_of(repository)
    assert git_folder is not None
    ids = [ref.id for ref in objects_of(git_folder)]
    assert len(ids) == len(set(ids)) == 3 + 5


def test_messages_tags_branches_and_merges_are_read(repository: Path) -> None:
    commit(repository, "a.txt", "1\n", f"deploy with token={token('message')}")
    git(repository, "checkout", "--quiet", "-b", "side")
    commit(repository, "b.env", f"token={token('side')}\n")
    git(repository, "rm", "--quiet", "b.env")
    commit(repository, "c.txt", "side\n")
    git(repository, "checkout", "--quiet", "main")
    commit(repository, "a.txt", "2\n")
    git(repository, "tag", "-a", "v1", "-m", f"token={token('tag')}")
    git(repository, "merge", "--quiet", "--no-ff", "-m", "merge", "side")
    found = {one.path for one in scanned(repository).findings if one.commit or "(" in one.path}
    assert found == {"(commit message)", "(tag message)", "b.env"}


def test_what_a_merge_brings_itself_is_read(repository: Path) -> None:
    """An "evil merge": neither parent has it."""
    commit(repository, "a.txt", "1\n")
    git(repository, "checkout", "--quiet", "-b", "side")
    commit(repository, "b.txt", "1\n")
    git(repository, "checkout", "--quiet", "main")
    commit(repository, "c.txt", "1\n")
    git(repository, "merge", "--quiet", "--no-ff", "--no-commit", "side")
    merge = commit(repository, "evil.env", f"token={token('evil')}\n", "merge")
    git(repository, "rm", "--quiet", "evil.env")
    commit(repository, "c.txt", "2\n")
    (finding,) = scanned(repository).findings
    assert (finding.path, finding.commit) == ("evil.env", merge)


def test_what_no_commit_leads_to_is_read(repository: Path) -> None:
    """Staged, and never committed: git keeps it."""
    commit(repository, "a.txt", "1\n")
    (repository / "b.env").write_text(f"token={token('staged')}\n")
    git(repository, "add", "b.env")
    git(repository, "rm", "--quiet", "--cached", "b.env")
    (repository / "b.env").unlink()
    (finding,) = scanned(repository).findings
    assert re.fullmatch(r"\(blob [0-9a-f]{40}, in no commit\)", finding.path)
    assert finding.commit is None


def test_an_archive_in_history_is_opened(repository: Path) -> None:
    import gzip

    (repository / "a.log.gz").write_bytes(gzip.compress(f"token={token('gz')}\n".encode()))
    commit(repository, "a.txt", "1\n")
    git(repository, "rm", "--quiet", "a.log.gz")
    commit(repository, "a.txt", "2\n")
    (finding,) = scanned(repository).findings
    assert finding.path == "a.log.gz"
    assert finding.commit is not None


def test_a_shallow_clone_is_incomplete(repository: Path, tmp_path: Path) -> None:
    commit(repository, "a.txt", "1\n")
    commit(repository, "a.txt", "2\n")
    url = repository.as_uri()
    git(tmp_path, "clone", "--quiet", "--depth=1", url, "shallow")
    result = scanned(tmp_path / "shallow")
    assert result.verdict == "inconclusive"
    assert "a shallow clone" in result.unread[0].reason


def test_a_missing_object_is_incomplete(repository: Path) -> None:
    commit(repository, "a.txt", "only here\n")
    name = git(repository, "rev-parse", "HEAD:a.txt")
    (repository / ".git/objects" / name[:2] / name[2:]).unlink()
    result = scanned(repository)
    assert result.verdict == "inconclusive"
    assert "not in the repository" in result.unread[0].reason


def test_the_configuration_of_git_is_read_and_its_store_only_with_history(repository: Path) -> None:
    commit(repository, "a.txt", "1\n")
    password = Maker("url").fill("{an:20}")
    git(repository, "remote", "add", "origin", f"https://ci:{password}@git.example.net/x.git")
    result = scan([repository], engine="re2", key=KEY, workers=1)
    assert [(one.path, one.rule) for one in result.findings] == [(".git/config", "url-password")]
    assert result.counts["git_object_folders"] == 1


def test_a_folder_outside_of_git_has_no_history(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a git repository"):
        scan([tmp_path], history=True, engine="re2", key=KEY)


def test_the_repository_is_that_of_the_path_whatever_the_caller_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inside a git hook `GIT_DIR` names another one."""
    for name in ("mine", "other"):
        subprocess.run(["git", "init", "-q", str(tmp_path / name)], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    assert repository_of(tmp_path / "mine") == (tmp_path / "mine/.git").resolve()
