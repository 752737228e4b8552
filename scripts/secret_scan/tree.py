"""The files of folders: links are not followed, what can't be read is listed."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import UsageError
from evidence.files import kind_of
from secret_scan.findings import Unread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from secret_scan.findings import Tally


@dataclass(frozen=True)
class FileRef:
    """A file: where it is, how reports call it, how large it is."""

    path: str
    name: str
    size: int


def base_folder(paths: Iterable[Path]) -> Path:
    """What names in reports are relative to.

    The current folder where all paths are below it; else the folder that was given, or the
    nearest one that holds them all.
    """
    absolute = [path.absolute() for path in paths]
    here = Path.cwd()
    if all(path.is_relative_to(here) for path in absolute):
        return here
    if len(absolute) == 1:
        return absolute[0] if absolute[0].is_dir() else absolute[0].parent
    return Path(os.path.commonpath([path.parent for path in absolute]))


def files_of(paths: Iterable[Path], base: Path, tally: Tally) -> Iterator[FileRef]:
    """Every regular file below the paths, in the order of names.

    Raises:
        UsageError: a path that there is not.
    """
    for path in paths:
        # A link that the caller names is meant; those met on the way are not followed.
        try:
            real = path.resolve(strict=True)
            status = real.stat()
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise UsageError(f"{path}: expected a file or a folder, got: {reason}") from problem
        name = _name(path.absolute(), base)
        if stat.S_ISDIR(status.st_mode):
            yield from _below(str(real), name, tally)
        elif stat.S_ISREG(status.st_mode):
            yield FileRef(str(real), name or path.name, status.st_size)
        else:
            tally.unread.append(Unread(name, f"{kind_of(status.st_mode)}, no regular file"))


def _name(path: Path, base: Path) -> str:
    name = Path(os.path.relpath(path, base)).as_posix()
    return "" if name == "." else name


def _below(folder: str, name: str, tally: Tally) -> Iterator[FileRef]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as problem:
        tally.unread.append(Unread(name or ".", (problem.strerror or str(problem)).lower()))
        return
    is_git = {"HEAD", "objects", "refs"} <= {entry.name for entry in entries}
    for entry in entries:
        inner = f"{name}/{entry.name}" if name else entry.name
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as problem:
            tally.unread.append(Unread(inner, (problem.strerror or str(problem)).lower()))
            continue
        if stat.S_ISDIR(status.st_mode):
            if is_git and entry.name == "objects":
                tally.counts["git_object_folders"] += 1
            else:
                yield from _below(entry.path, inner, tally)
        elif stat.S_ISREG(status.st_mode):
            yield FileRef(entry.path, inner, status.st_size)
        elif stat.S_ISLNK(status.st_mode):
            tally.counts["links"] += 1
        else:
            tally.unread.append(Unread(inner, f"{kind_of(status.st_mode)}, no regular file"))
