"""A folder of files: copied twice looked at, so that what changed meanwhile is no backup."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from backup.errors import DamagedError, reason_of
from backup.snapshot import Snapshot, entries_of
from common.cli import ScriptError
from common.hashing import BLOCK_BYTES, open_unfollowed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backup.manifest import StoreBackup
    from stack.model import Store

TRIES = 3


class _ChangedError(Exception):
    pass


def snapshot(store: Store, folder: Path) -> Snapshot:
    """Copy a folder in which nothing changes from the first look to the last.

    Raises:
        ScriptError: it is not there, can't be read, or changed during each of three tries.
        RefusedError: links, devices and such are in it, or names that no archive may hold.
    """
    root, last = Path(store.location), ""
    for _ in range(TRIES):
        try:
            return _copy(root, store.name, folder)
        except _ChangedError as problem:
            last = str(problem)
            shutil.rmtree(folder)
            folder.mkdir(mode=0o700)
        except OSError as problem:
            where = problem.filename or root
            raise ScriptError(f"the store {store.name}: {where}: {reason_of(problem)}") from problem
    raise ScriptError(
        f"the store {store.name}: {last} changed while it was copied, {TRIES} times: stop its "
        "writers, or have it backed up where it holds still"
    )


def check(backup: StoreBackup, folder: Path) -> None:
    """Hold what is on the disk against the backup: names, kinds, modes, lengths.

    Raises:
        DamagedError: it is another.
    """
    entries, _ = entries_of(folder / backup.name, backup.name)
    found = {(item.path, item.mode, item.size_bytes) for item in entries}
    wanted = {(item.path, item.mode, item.size_bytes) for item in backup.entries}
    if found != wanted:
        path = min(found ^ wanted, key=str)[0]
        raise DamagedError(f"the store {backup.name}: expected {path} as in the backup")


def source(backup: StoreBackup, folder: Path) -> Path:
    """The whole folder."""
    return folder / backup.name


def beside(_target: Path) -> Sequence[Path]:
    """Nothing."""
    return ()


def check_target(_backup: StoreBackup, _target: Path) -> None:
    """Any folder may be replaced: what a file's schema is only its software knows."""


def _copy(root: Path, name: str, folder: Path) -> Snapshot:
    if not root.is_dir() or root.is_symlink():
        raise ScriptError(f"the store {name}: expected a folder at {root}, got none")
    entries, before = entries_of(root, name)
    for entry in entries:
        inner = entry.path[len(name) + 1 :]
        target = folder / inner
        if not entry.folder:
            _copy_file(root / inner, target, before[entry.path])
        elif inner:
            target.mkdir(mode=0o700)
    _, after = entries_of(root, name)
    if changed := _changed(before, after):
        raise _ChangedError(changed)
    return Snapshot(entries)


def _copy_file(path: Path, target: Path, before: os.stat_result) -> None:
    try:
        handle = open_unfollowed(path)
    except FileNotFoundError as problem:
        raise _ChangedError(str(path)) from problem
    with os.fdopen(handle, "rb") as stream, target.open("xb") as copy:
        if _state(os.fstat(handle)) != _state(before):
            raise _ChangedError(str(path))
        left = before.st_size
        # A file that grows for ever is not read for ever.
        while left and (block := stream.read(min(BLOCK_BYTES, left))):
            copy.write(block)
            left -= len(block)
        if left or _state(os.fstat(handle)) != _state(before):
            raise _ChangedError(str(path))


def _changed(before: dict[str, os.stat_result], after: dict[str, os.stat_result]) -> str:
    """The first path that is new, gone, or not what it was; "" where there is none."""
    for path in sorted(before.keys() | after.keys()):
        if path not in before or path not in after or _state(before[path]) != _state(after[path]):
            return path
    return ""


def _state(status: os.stat_result) -> tuple[int, ...]:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_ino, status.st_dev, status.st_mode, status.st_size, *times)
