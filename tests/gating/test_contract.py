"""gating.contract and gating.git: a contract changes only with its version (G7)."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml
from fakes.system import stack_value
from ledgers import History

from common.cli import ConfigurationError
from evidence import envelope
from gating.contract import (
    LOCK,
    Lock,
    bump,
    check_contract,
    check_logged,
    contract_sha256,
    read_lock,
)
from gating.git import commit_exists, committed_versions, is_ancestor
from stack.load import load_stack

if TYPE_CHECKING:
    from pathlib import Path

    from stack.model import Stack


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=no")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "x")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of gate files of its own: those of the tree may change at any time."""
    folder = tmp_path / "gates"
    folder.mkdir()
    (folder / "gate1.yaml").write_text("version: 1\nlimit: 5\n")
    monkeypatch.setattr(envelope, "GATE_FOLDER", folder)
    return folder


@pytest.fixture
def checkout(tmp_path: Path, gates: Path) -> Path:
    """A repository with a stack file; `gates` is beside it."""
    assert gates.is_dir()
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    (folder / "stack.yaml").write_text(yaml.safe_dump(stack_value()))
    return folder


@pytest.fixture
def stack(checkout: Path) -> Stack:
    return load_stack(checkout / "stack.yaml", {})


@pytest.fixture
def lock(checkout: Path, stack: Stack) -> Path:
    """A lock that fits and is committed."""
    bump(stack, checkout / LOCK)
    commit(checkout)
    return checkout / LOCK


def test_a_locked_contract_passes_and_is_named(stack: Stack, lock: Path) -> None:
    assert check_contract(stack, lock) == contract_sha256(stack)
    assert read_lock(lock).version == 1


def test_without_a_lock_it_is_refused_with_the_command(stack: Stack, checkout: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"got no file: run `.*ledger\.py contract --bump"):
        check_contract(stack, checkout / LOCK)


def test_a_loosened_threshold_is_a_changed_contract(stack: Stack, lock: Path, gates: Path) -> None:
    (gates / "gate1.yaml").write_text("version: 1\nlimit: 6\n")
    with pytest.raises(ConfigurationError, match="changed without a higher version: expected"):
        check_contract(stack, lock)


@pytest.mark.parametrize("where", ["gate", "stack"])
def test_anything_more_is_a_changed_contract(
    where: str, stack: Stack, lock: Path, gates: Path
) -> None:
    if where == "gate":
        (gates / "gate2.yaml").write_text("version: 1\n")
    else:
        value = yaml.safe_load(stack.file.read_text())
        value["services"][0]["start_seconds"] = 99
        stack.file.write_text(yaml.safe_dump(value))
    with pytest.raises(ConfigurationError, match="changed without a higher version"):
        check_contract(stack, lock)


def test_comments_and_order_change_nothing(stack: Stack, lock: Path, gates: Path) -> None:
    (gates / "gate1.yaml").write_text("# why\nlimit: 5\nversion: 1\n")
    check_contract(stack, lock)


def test_a_bump_locks_the_next_version_and_keeps_the_history(
    stack: Stack, lock: Path, gates: Path
) -> None:
    first = read_lock(lock)
    (gates / "gate1.yaml").write_text("version: 1\nlimit: 6\n")
    second = bump(stack, lock)
    assert (second.version, second.history[0]) == (2, (1, first.sha256))
    assert read_lock(lock) == second
    assert check_contract(stack, lock) == second.sha256
    assert bump(stack, lock) == second


def test_what_was_bumped_back_and_forth_needs_a_version_each_time(
    stack: Stack, lock: Path, gates: Path
) -> None:
    old = (gates / "gate1.yaml").read_text()
    (gates / "gate1.yaml").write_text("version: 1\nlimit: 6\n")
    bump(stack, lock)
    (gates / "gate1.yaml").write_text(old)
    third = bump(stack, lock)
    assert (third.version, third.history[0][1]) == (3, third.sha256)
    check_contract(stack, lock)


def test_a_hash_edited_under_its_version_is_refused(stack: Stack, lock: Path, gates: Path) -> None:
    """The edit is complete, hash and history: what was committed gives it away."""
    old = read_lock(lock).sha256
    (gates / "gate1.yaml").write_text("version: 1\nlimit: 6\n")
    lock.write_text(lock.read_text().replace(old, contract_sha256(stack)))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=f"version 1 was committed as {old}"):
            check_contract(stack, lock)
        commit(lock.parent)  # and being committed as well does not help
    assert bump(stack, lock).version == 2
    check_contract(stack, lock)


def test_a_lock_made_anew_does_not_start_at_one_again(
    stack: Stack, lock: Path, gates: Path
) -> None:
    lock.unlink()
    (gates / "gate1.yaml").write_text("version: 1\nlimit: 6\n")
    assert bump(stack, lock).version == 2


def test_two_branches_that_bumped_are_told_apart(stack: Stack, lock: Path, gates: Path) -> None:
    folder = lock.parent
    main = git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    git(folder, "checkout", "--quiet", "-b", "side")
    (gates / "gate1.yaml").write_text("version: 1\nlimit: 6\n")
    bump(stack, lock)
    commit(folder)
    git(folder, "checkout", "--quiet", main)
    (gates / "gate1.yaml").write_text("version: 1\nlimit: 7\n")
    bump(stack, lock)
    commit(folder)
    git(folder, "merge", "--quiet", "--strategy=ours", "side")
    with pytest.raises(ConfigurationError, match="version 2 was committed as"):
        check_contract(stack, lock)
    assert bump(stack, lock).version == 3
    check_contract(stack, lock)


def test_versions_that_the_ledger_has_seen_are_taken(stack: Stack, checkout: Path) -> None:
    assert bump(stack, checkout / LOCK, taken=[(7, "e" * 64)]).version == 8


def test_a_lock_whose_version_the_ledger_knows_as_another_is_bumped(
    stack: Stack, lock: Path
) -> None:
    now = contract_sha256(stack)
    assert bump(stack, lock, taken=[(1, now)]).version == 1
    assert bump(stack, lock, taken=[(1, "e" * 64)]).version == 2
    assert bump(stack, lock, taken=[(5, now)]).version == 6


OLD, NEW = "d" * 64, "e" * 64


@pytest.mark.parametrize("kind", ["contract", "gate_started"])
def test_the_ledger_remembers_what_was_amended_away(kind: str) -> None:
    history = History()

    def log(version: int, sha256: str, name: str = "mine") -> None:
        if kind == "contract":
            history.add("contract", stack=name, version=version, sha256=sha256)
        else:
            history.run("gate1", "passed", contract_version=version, contract=sha256, name=name)

    check_logged(history.entries, "mine", 1, OLD)
    log(1, OLD)
    log(7, NEW, name="theirs")
    check_logged(history.entries, "mine", 1, OLD)
    check_logged(history.entries, "mine", 2, NEW)
    with pytest.raises(ConfigurationError, match=rf"without a higher version: expected {OLD}"):
        check_logged(history.entries, "mine", 1, NEW)
    log(2, NEW)
    with pytest.raises(ConfigurationError, match=r"expected version 2 or higher .* got 1"):
        check_logged(history.entries, "mine", 1, OLD)
    check_logged(history.entries, "mine", 3, OLD)


def test_a_rehearsal_logs_no_contract() -> None:
    """It checks no lock."""
    history = History()
    history.run("gate1", "passed", rehearsal=True, contract=OLD, contract_version=1)
    check_logged(history.entries, "mine", 1, NEW)
    history.run("gate1", "passed", contract=OLD)  # a line from before versions were written
    check_logged(history.entries, "mine", 1, NEW)


def test_outside_of_a_checkout_the_lock_still_holds(tmp_path: Path, gates: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "stack.yaml").write_text(yaml.safe_dump(stack_value()))
    plain = load_stack(folder / "stack.yaml", {})
    bump(plain, folder / LOCK)
    check_contract(plain, folder / LOCK)
    (gates / "gate1.yaml").write_text("version: 2\n")
    with pytest.raises(ConfigurationError, match="changed without a higher version"):
        check_contract(plain, folder / LOCK)


def rewritten(lock: Path, **changes: object) -> None:
    lock.write_text(json.dumps(yaml.safe_load(lock.read_text()) | changes))


def test_the_lock_of_another_stack_is_refused(stack: Stack, lock: Path) -> None:
    rewritten(lock, stack="other")
    for act in (check_contract, bump):
        with pytest.raises(ConfigurationError, match="expected the contract of fake, got that of"):
            act(stack, lock)


@pytest.mark.parametrize(
    "history",
    [
        [(1, "e" * 64)],
        [(2, "")],
        [(1, ""), (1, "")],
        [(3, "e" * 64), (1, "")],
        [],
    ],
)
def test_a_history_that_does_not_fit_is_refused(
    history: list[tuple[int, str]], stack: Stack, lock: Path
) -> None:
    now = read_lock(lock).sha256
    rows = [{"version": version, "sha256": sha256 or now} for version, sha256 in history]
    rewritten(lock, history=rows)
    with pytest.raises(ConfigurationError, match="history"):
        check_contract(stack, lock)


def test_a_lock_of_another_form_names_its_line(stack: Stack, lock: Path) -> None:
    lock.write_text(lock.read_text().replace("version: 1\n", "version: one\n", 1))
    with pytest.raises(ConfigurationError, match=r"contract\.lock\.yaml:4: version: expected"):
        check_contract(stack, lock)


def test_what_was_committed_and_is_no_lock_is_no_version(stack: Stack, lock: Path) -> None:
    good = lock.read_text()
    for text in ("[", "- 1", "version: x", "version: 9"):
        lock.write_text(text)
        commit(lock.parent)
    lock.write_text(good)
    check_contract(stack, lock)


def test_a_folder_that_can_not_be_written_is_one_line(stack: Stack, checkout: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't write"):
        bump(stack, checkout / "missing" / LOCK)


def test_a_hash_of_digits_stays_a_text(tmp_path: Path) -> None:
    from gating import contract

    digits = "1" * 64
    contract._write(tmp_path / LOCK, Lock("x", 1, digits, ((1, digits),)))
    assert read_lock(tmp_path / LOCK).sha256 == digits


def test_git_knows_commits_and_their_order(checkout: Path, tmp_path: Path) -> None:
    first, second = commit(checkout), commit(checkout)
    assert commit_exists(checkout, first)
    assert is_ancestor(checkout, first, second)
    assert is_ancestor(checkout, first, first)
    assert not is_ancestor(checkout, second, first)
    for wrong in (first[:12], "HEAD", "--all", "", "0" * 40, first.upper(), first + "\n"):
        assert not commit_exists(checkout, wrong)
        assert not is_ancestor(checkout, wrong, second)
        assert not is_ancestor(checkout, first, wrong)
    tree = git(checkout, "rev-parse", "HEAD^{tree}")
    assert not commit_exists(checkout, tree)
    assert not commit_exists(tmp_path, first)


def test_a_replaced_object_changes_no_order(checkout: Path) -> None:
    first, second = commit(checkout), commit(checkout)
    orphan = git(checkout, "commit-tree", "HEAD^{tree}", "-m", "x", "-p", second)
    git(checkout, "replace", "--graft", first, orphan)
    assert not is_ancestor(checkout, orphan, first)


def test_a_git_hook_does_not_change_whose_commits_they_are(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = commit(checkout)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other"))
    assert commit_exists(checkout, mine)


def test_every_committed_content_is_found(checkout: Path) -> None:
    path = checkout / "deep" / "file"
    path.parent.mkdir()
    assert committed_versions(path) == ()
    for text in ("one", "two"):
        path.write_text(text)
        commit(checkout)
    path.unlink()
    commit(checkout)
    assert {*committed_versions(path)} == {b"one", b"two"}


def test_no_git_is_one_line(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigurationError, match="can't ask git about"):
        commit_exists(checkout, "a" * 40)
