"""The contract lock and the ledger together: neither may forget what the other has seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gating.contract import bump, check_contract, check_logged, logged_contracts, read_lock
from gating.ledger_runs import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gating.contract import Lock
    from gating.ledger import Ledger
    from gating.ledger_chain import Entry
    from stack.model import Stack


def check_locked(entries: Sequence[Entry], stack: Stack, lock_path: Path) -> Lock:
    """The lock of a contract that fits the files, the git history and the ledger.

    Args:
        entries: verified ones, all of them.
        stack: the stack, as it is now.
        lock_path: its lock file.

    Raises:
        ConfigurationError: see `check_contract` and `check_logged`.
    """
    sha256 = check_contract(stack, lock_path)
    lock = read_lock(lock_path)
    check_logged(entries, stack.name, lock.version, sha256)
    return lock


def bump_logged(ledger: Ledger, stack: Stack, lock_path: Path) -> Lock:
    """Lock the contract as it is now, and log it.

    Lock first, log after it: where the second is missing, the next bump brings it.

    Raises:
        ConfigurationError: see `bump`.
        LedgerError: the ledger is not what the key has signed, or can't be written.
    """
    entries = ledger.entries()
    lock = bump(stack, lock_path, logged_contracts(entries, stack.name))
    row = {"stack": stack.name, "version": lock.version, "sha256": lock.sha256}
    if not any(entry.entry == CONTRACT and entry.fields == row for entry in entries):
        ledger.append(CONTRACT, **row)
    return lock
