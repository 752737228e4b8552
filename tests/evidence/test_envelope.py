"""evidence.envelope: the commit is the checkout's own, or none."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from fakes.system import write_stack

from evidence.envelope import commit_of
from stack.load import load_stack

if TYPE_CHECKING:
    from pathlib import Path

NONE = {"sha": None, "dirty": None}


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "file").write_text("x")
    git(folder, "init", "--quiet")
    git(folder, "add", "file")
    git(folder, "commit", "--quiet", "-m", "x")
    commit_of.cache_clear()
    return folder


def test_a_clean_checkout_is_its_commit(checkout: Path) -> None:
    assert commit_of(checkout) == {"sha": git(checkout, "rev-parse", "HEAD"), "dirty": False}


@pytest.mark.parametrize("change", ["edit", "untracked", "hidden untracked"])
def test_any_change_is_dirty(checkout: Path, change: str) -> None:
    (checkout / ("file" if change == "edit" else "new")).write_text("changed")
    if change == "hidden untracked":
        git(checkout, "config", "status.showUntrackedFiles", "no")
    assert commit_of(checkout)["dirty"] is True


def test_a_copy_inside_another_checkout_has_no_commit(checkout: Path) -> None:
    inner = checkout / "vendor" / "copy"
    inner.mkdir(parents=True)
    (checkout / ".gitignore").write_text("vendor/")
    assert commit_of(inner) == NONE


def test_a_folder_without_git_has_no_commit(tmp_path: Path) -> None:
    commit_of.cache_clear()
    assert commit_of(tmp_path) == NONE


def test_a_git_hook_does_not_change_whose_commit_it_is(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    expected = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert commit_of(checkout)["sha"] == expected


def test_the_contract_changes_with_the_stack_file(tmp_path: Path) -> None:
    from evidence.envelope import contract_sha256

    first = load_stack(write_stack(tmp_path), {})
    before = contract_sha256(first)
    text = first.file.read_text()
    first.file.write_text(text.replace("start_seconds: 5", "start_seconds: 6"))
    assert contract_sha256(load_stack(first.file, {})) != before
    first.file.write_text("# a comment is no change\n" + text)
    assert contract_sha256(load_stack(first.file, {})) == before
