"""What a store looked like at one moment: a folder of ours, and what is known about it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backup.entries import Entry, check_paths, in_order
from backup.errors import RefusedError
from evidence.files import kind_of, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_MODE_BITS = 0o777


@dataclass(frozen=True)
class Snapshot:
    """One store, copied.

    Args:
        entries: what is in the copy, without hashes, with the modes of the store.
        facts: what is known about it already.
        check: looks for damage in the copy and returns the facts that this takes; it runs
            while the copy is packed.
    """

    entries: tuple[Entry, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    check: Callable[[], Mapping[str, Any]] = dict


def entries_of(folder: Path, name: str) -> tuple[tuple[Entry, ...], dict[str, os.stat_result]]:
    """The folders and regular files of a folder, below `name`, and their state.

    Raises:
        RefusedError: something else is there: all of it is listed; or paths that no archive
            may hold.
        OSError: it can't be looked at.
    """
    status = os.lstat(folder)
    found, states, refused = [Entry(name, status.st_mode & _MODE_BITS)], {name: status}, []
    waiting = [(folder, name)]
    while waiting:
        place, path = waiting.pop()
        with os.scandir(place) as listed:
            for item in listed:
                inner, status = f"{path}/{item.name}", item.stat(follow_symlinks=False)
                mode = status.st_mode & _MODE_BITS
                states[inner] = status
                if stat.S_ISDIR(status.st_mode):
                    found.append(Entry(inner, mode))
                    waiting.append((place / item.name, inner))
                elif stat.S_ISREG(status.st_mode):
                    found.append(Entry(inner, mode, status.st_size))
                else:
                    refused.append(f"{shown(inner)} ({kind_of(status.st_mode)})")
    if refused:
        listed_names = ", ".join(sorted(refused)[:20])
        more = f" and {len(refused) - 20} more" if len(refused) > 20 else ""  # noqa: PLR2004
        raise RefusedError(
            f"the store {name}: expected regular files and folders, got {listed_names}{more}"
        )
    entries = in_order(found)
    check_paths(entries)
    return entries, states
