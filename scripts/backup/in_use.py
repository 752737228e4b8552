"""Who has a store open: what runs may not be restored under."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PROCESSES, _LOCKS = Path("/proc"), Path("/proc/locks")
_LOCK_FIELDS = 6


def users_of(paths: Sequence[Path]) -> list[str]:
    """One line for each process that has a file of these paths open, or a lock on it.

    Where other users' processes can't be looked into, their locks still are (Linux); on other
    systems psutil looks.
    """
    files = {_identity(status): path for path, status in _files(paths)}
    if not files:
        return []
    if not _LOCKS.exists():
        return _by_psutil(set(map(os.path.realpath, files.values())))
    found = [*_open_files(files), *_locks(files)]
    return sorted({f"process {pid} has {path} open" for pid, path in found if pid != os.getpid()})


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    for path in paths:
        inner = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
        for item in (path, *inner):
            with contextlib.suppress(OSError):
                yield item, item.lstat()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _open_files(files: dict[tuple[int, int], Path]) -> Iterator[tuple[int, Path]]:
    for process in _PROCESSES.iterdir():
        if not process.name.isdecimal():
            continue
        handles: list[Path] = []
        # Others' processes, and those that end meanwhile.
        with contextlib.suppress(OSError):
            handles = [process / "cwd", *(process / "fd").iterdir()]
        for handle in handles:
            with contextlib.suppress(OSError):
                if path := files.get(_identity(handle.stat())):
                    yield int(process.name), path


def _locks(files: dict[tuple[int, int], Path]) -> Iterator[tuple[int, Path]]:
    """Of /proc/locks: `1: POSIX ADVISORY WRITE 1234 08:01:131 0 EOF`."""
    known = {
        f"{os.major(device):02x}:{os.minor(device):02x}:{inode}": path
        for (device, inode), path in files.items()
    }
    for line in _LOCKS.read_text("utf-8").splitlines():
        fields = line.replace("-> ", "").split()
        if len(fields) >= _LOCK_FIELDS and (path := known.get(fields[5])):
            yield int(fields[4]), path


def _by_psutil(paths: set[str]) -> list[str]:
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            names = {os.path.realpath(item.path) for item in process.open_files()}
            if process.pid != os.getpid():
                found += [f"process {process.pid} has {name} open" for name in names & paths]
    return sorted(found)
