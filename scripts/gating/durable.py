"""Write so that kill -9, or the loss of power, leaves the old or the new and never a mixture."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from common.cli import ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Never through a link, and never waiting for the reader of a FIFO.
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_FLAGS |= getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


# fdatasync also waits for a changed length; where it is missing, fsync does more than is needed.
_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


def replace(target: Path, data: bytes) -> None:
    """Write a file of which every reader has the old or the new content; it is on the disk.

    One writer at a time: the draft has always the same name, so that what a killed writer
    left is written over by the next.

    Raises:
        OSError: it can't be written; the old content stays.
    """
    draft = target.with_name(f".{target.name}.partial")
    _write(draft, data, os.O_TRUNC)
    os.replace(draft, target)  # noqa: PTH105 - in one module with the calls it has to follow
    _sync_folder(target.parent)


def append(path: Path, data: bytes) -> None:
    """Append and wait for the disk, also for what a killed writer had appended before.

    Raises:
        OSError: it can't be written; a beginning of `data` may have been.
    """
    new = not os.path.lexists(path)
    _write(path, data, os.O_APPEND)
    if new:
        _sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there; after a loss of power it may be back.

    Raises:
        OSError: it can't be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 - in one module with the calls it has to follow


def _write(path: Path, data: bytes, flag: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | flag | _FLAGS, 0o644)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ScriptError(f"{path}: expected a regular file, got another kind: remove it")
        while data:
            data = data[os.write(handle, data) :]
        _sync_data(handle)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder can't be opened there, and NTFS journals its names
        return
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
