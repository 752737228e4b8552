"""Where the secrets of a run are while it runs: in memory, in a private folder of its own.

The folder's name follows from the state folder's, so that another command finds it; the
run's record names it too, so that a sweep removes it after a kill -9 (G3d).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from stack.memory import memory_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "proof-pack-"


def plan_place(state: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder for the secrets of the run whose state folder this is; None without memory."""
    root = memory_folder(environ)
    return root and root / f"{_of_cache(state.parent)}{state.name}"


def make_place(place: Path) -> None:
    """Make the folder, for this user alone.

    Raises:
        FileExistsError: somebody else made one of this name: nothing is put into it.
    """
    place.mkdir(mode=0o700)
    place.chmod(0o700)  # an umask may have taken from it


def find_place(state: Path, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder that an earlier command made for a state folder, if it is this user's own."""
    place = plan_place(state, environ)
    return place if place and _is_ours(place) else None


def remove_place(place: str | Path) -> bool:
    """Remove the folder; whether there was one."""
    if not place or not _is_ours(Path(place)):
        return False
    shutil.rmtree(place, ignore_errors=True)
    return True


def places_of(states: Path, environ: Mapping[str, str] = os.environ) -> list[tuple[str, Path]]:
    """(marker, folder) of every run whose state folder is, or was, below `states`."""
    root, prefix = memory_folder(environ), _of_cache(states)
    found = root.glob(f"{prefix}*") if root else ()
    return [(path.name.removeprefix(prefix), path) for path in sorted(found) if _is_ours(path)]


def _of_cache(states: Path) -> str:
    # Runs with another cache folder have other records: their secrets are not ours to sweep.
    digest = hashlib.sha256(os.fsencode(os.path.realpath(states))).hexdigest()
    return f"{_PREFIX}{digest[:12]}-"


def _is_ours(place: Path) -> bool:
    """A folder of this user that nobody else may enter; /dev/shm is open to everybody."""
    try:
        found = place.lstat()
    except OSError:
        return False
    mine = not hasattr(os, "getuid") or found.st_uid == os.getuid()
    return stat.S_ISDIR(found.st_mode) and mine and not found.st_mode & 0o077
