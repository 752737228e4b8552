"""File systems that live in memory: where a secret can be a file without being on a disk."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "PROOF_PACK_SECRETS_DIR"
MEMORY_TYPES = frozenset({"tmpfs", "ramfs"})
_MOUNTS = Path("/proc/self/mountinfo")
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - folders in it are made private and exclusively
_ESCAPED = re.compile(r"\\([0-7]{3})")


def memory_type(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """`tmpfs` or `ramfs` where a path lies in memory, else None; only Linux can be asked."""
    real = Path(os.path.realpath(path))
    found = max(
        (row for row in _mounted(mounts) if real.is_relative_to(row[0])),
        # Of two mounts on one folder the later one is seen.
        key=lambda row: len(row[0].parts),
        default=None,
    )
    return found[1] if found and found[1] in MEMORY_TYPES else None


def memory_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """A folder in memory that this user can write, or None.

    PROOF_PACK_SECRETS_DIR decides alone where it is set: a folder on a disk switches
    the use of memory off, for engines that can't mount from it (Docker Desktop).
    """
    given = environ.get(VARIABLE)
    for text in (given,) if given else (environ.get("XDG_RUNTIME_DIR"), _SHARED_MEMORY):
        if not text or sys.platform != "linux":
            continue
        folder = Path(text)
        usable = folder.is_absolute() and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
        if usable and memory_type(folder):
            return folder
    return None


def _mounted(mounts: Path) -> list[tuple[Path, str]]:
    """(mount point, type of file system) of every mount, the seen one last."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        before, _, after = line.partition(" - ")
        point = _ESCAPED.sub(lambda code: chr(int(code[1], 8)), before.split(" ")[4])
        rows.append((Path(point), after.split(" ")[0]))
    return rows[::-1]
