"""The boot contract (G7): what is proven and how it is judged, locked under a version.

`contract.lock.yaml` stands beside the stack file and is committed with it. The hash in it
is the SHA-256 of the canonical JSON (RFC 8785) of every value of the stack file and of
all gate files: which scripts measure, with which arguments, and which criteria judge.
The history of HEAD can be rewritten (`git commit --amend`): the ledger remembers too.
Comments, key order and layout are not in it, because they change nothing. What the stack
file only names (programs, policies, images) is not in it either: the commit binds that.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cli import ConfigurationError
from common.documents import read_yaml
from common.schema import check
from evidence.envelope import contract_sha256
from gating.commands import script_command, stack_arguments
from gating.git import committed_versions
from gating.ledger_runs import CONTRACT, STARTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from gating.ledger_chain import Entry
    from stack.model import Stack

__all__ = [
    "LOCK",
    "Lock",
    "bump",
    "check_contract",
    "check_logged",
    "contract_sha256",
    "logged_contracts",
    "read_lock",
]

LOCK = "contract.lock.yaml"
_COMMENT = """\
# The boot contract of this stack: the hash of its stack file and all gate files (G7).
# Written by `python scripts/ledger.py contract --bump`; never edited by hand.
"""


@dataclass(frozen=True)
class Lock:
    """A locked contract.

    Args:
        stack: the name of the stack that it belongs to.
        history: (version, SHA-256) of every contract up to this one, the oldest first.
    """

    stack: str
    version: int
    sha256: str
    history: tuple[tuple[int, str], ...]


def lock_path_of(stack: Stack) -> Path:
    """Where the contract of a stack is locked by default."""
    return stack.file.with_name(LOCK)


def read_lock(path: Path) -> Lock:
    """A lock file whose history fits it.

    Raises:
        ConfigurationError: missing, not of its schema, or edited by hand.
    """
    document = read_yaml(path)
    check(document, "contract")
    value = document.value
    history = tuple((item["version"], item["sha256"]) for item in value["history"])
    lock = Lock(value["stack"], value["version"], value["sha256"], history)
    versions = [version for version, _ in history]
    if versions != sorted(set(versions)) or history[-1] != (lock.version, lock.sha256):
        line = document.line_of(("history",))
        raise ConfigurationError(
            f"{path}:{line}: history: expected rising versions that end with {lock.version} "
            f"{lock.sha256}, got {versions} that end with {history[-1][1]}: restore the file, "
            "then bump it"
        )
    return lock


def check_contract(stack: Stack, lock_path: Path) -> str:
    """The SHA-256 of a stack's contract, which is the locked one.

    Raises:
        ConfigurationError: not locked, changed without a higher version, or the lock of
            another stack.

    Source: requirements G7.
    """
    bump = script_command("ledger", "contract", "--bump", *stack_arguments(stack.file))
    helps = f"`{bump}`"
    if not os.path.lexists(lock_path):
        raise ConfigurationError(f"{lock_path}: expected a contract lock, got no file: run {helps}")
    lock, now = read_lock(lock_path), contract_sha256(stack)
    if lock.stack != stack.name:
        raise ConfigurationError(
            f"{lock_path}: expected the contract of {stack.name}, got that of {lock.stack}: "
            "give --lock"
        )
    if lock.sha256 != now:
        raise ConfigurationError(
            f"{lock_path}: the contract has changed without a higher version: expected "
            f"{lock.sha256} (version {lock.version}), got {now}: undo the change of the stack "
            f"file or of scripts/gates, or run {helps}"
        )
    for version, sha256 in _committed(lock_path):
        if sha256 != lock.sha256 and version >= lock.version:
            raise ConfigurationError(
                f"{lock_path}: version {version} was committed as {sha256}: expected a higher "
                f"version for {lock.sha256}, got {lock.version}: run {helps}"
            )
    return now


def logged_contracts(entries: Iterable[Entry], stack_name: str) -> list[tuple[int, str]]:
    """Version and hash of every contract of a stack that the ledger has seen.

    From `contract` entries, and from starts: the bump may have been logged elsewhere.
    """
    found = []
    for entry in entries:
        fields = entry.fields
        if entry.entry == CONTRACT and fields["stack"] == stack_name:
            found.append((int(fields["version"]), str(fields["sha256"])))
        elif entry.entry == STARTED and fields["stack"]["name"] == stack_name:
            version = fields.get("contract_version")
            if version is not None and fields["rehearsal"] is False:
                found.append((int(version), str(fields["contract_sha256"])))
    return found


def check_logged(entries: Sequence[Entry], stack_name: str, version: int, sha256: str) -> None:
    """Hold a locked contract against what the ledger has seen.

    Args:
        entries: verified ones, all of them.
        stack_name: whose contract it is.
        version: of its lock.
        sha256: of its lock.

    Raises:
        ConfigurationError: the version had another hash, or a newer one was logged.

    Source: requirements G7.
    """
    logged = logged_contracts(entries, stack_name)
    helps = "undo the change, or run `ledger.py contract --bump` with this --stack"
    for known, other in logged:
        if known == version and other != sha256:
            raise ConfigurationError(
                f"the contract of {stack_name} has changed without a higher version: expected "
                f"{other} (version {version} in the ledger), got {sha256}: {helps}"
            )
    newest = max((known for known, _ in logged), default=version)
    if newest > version:
        raise ConfigurationError(
            f"the contract of {stack_name} is an old one: expected version {newest} or higher "
            f"(the ledger has it), got {version}: {helps}"
        )


def bump(stack: Stack, lock_path: Path, taken: Iterable[tuple[int, str]] = ()) -> Lock:
    """Lock the contract as it is now; a lock that fits already stays as it is.

    Args:
        stack: the stack, as it is now.
        lock_path: its lock file, which is written.
        taken: version and hash of contracts that the ledger has seen (`logged_contracts`).

    Raises:
        ConfigurationError: the file there is another stack's, broken, or can't be written.
    """
    old = read_lock(lock_path) if os.path.lexists(lock_path) else None
    if old and old.stack != stack.name:
        check_contract(stack, lock_path)
    now = contract_sha256(stack)
    taken = [*taken]
    seen = [*_committed(lock_path), *taken]
    others = [version for version, sha256 in seen if sha256 != now]
    newest = max((version for version, _ in taken), default=0)
    if old and old.sha256 == now and old.version >= max(newest, 1 + max(others, default=0)):
        return old
    version = max([*(version for version, _ in seen), old.version if old else 0]) + 1
    history = (*(old.history if old else ()), (version, now))
    lock = Lock(stack.name, version, now, history)
    _write(lock_path, lock)
    return lock


def _committed(lock_path: Path) -> list[tuple[int, str]]:
    """Version and hash of every lock that was committed here; other contents are none."""
    import yaml

    found = []
    for data in committed_versions(lock_path):
        try:
            value = yaml.safe_load(data)
            found.append((int(value["version"]), str(value["sha256"])))
        except (yaml.YAMLError, KeyError, TypeError, ValueError):
            continue
    return found


def _write(path: Path, lock: Lock) -> None:
    import json

    # JSON texts are YAML texts; without quotes a hash of digits would be a number.
    rows = "".join(
        f"  - {{version: {version}, sha256: {json.dumps(sha256)}}}\n"
        for version, sha256 in lock.history
    )
    text = (
        f"{_COMMENT}stack: {json.dumps(lock.stack)}\nversion: {lock.version}\n"
        f"sha256: {json.dumps(lock.sha256)}\nhistory:\n{rows}"
    )
    draft = path.with_name(f".{path.name}.partial")
    try:
        draft.write_text(text, "utf-8", newline="\n")
        draft.replace(path)
    except OSError as problem:
        raise ConfigurationError(
            f"can't write {path}: {(problem.strerror or str(problem)).lower()}"
        ) from problem
