"""Look at files without trusting them: lstat first, no links followed, no special file opened."""

from __future__ import annotations

import os
import re
import stat

from common.cli import ScriptError
from common.hashing import open_unfollowed

NAME = re.compile(r"[A-Za-z0-9._-]+")
_NAMES = re.compile(r"[A-Za-z0-9._/-]+")
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISREG, "a regular file"),
)


class ArtifactError(ScriptError):
    """Evidence could not be written: P2's exit code 4 where a script documents it."""


def shown(value: object) -> str:
    """A value in a message: one line, printable ASCII, so that no name can fake output."""
    try:
        text = ascii(value) if isinstance(value, str) else str(value)
    except RecursionError:
        text = f"a deeply nested {type(value).__name__}"
    text = text.encode("ascii", "backslashreplace").decode("ascii")
    return text if len(text) <= 160 else text[:157] + "..."  # noqa: PLR2004 - one line


def kind_of(mode: int) -> str:
    """What a file is, in words, from its `st_mode`."""
    return next((words for test, words in _KINDS if test(mode)), "an unknown kind of file")


def safe_name(name: str) -> bool:
    """Whether `name` is a relative path of plain parts, with no `..` and no empty part."""
    return all(NAME.fullmatch(part) and part not in {".", ".."} for part in name.split("/"))


def read_regular(path: str | os.PathLike[str], limit_bytes: int) -> bytes:
    """The bytes of a regular file that is not reached through a link.

    Raises:
        ScriptError: another kind of file, a longer one, or one that can't be read;
            the message is "expected X, got Y".
    """
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ScriptError(f"expected a regular file, got {kind_of(status.st_mode)}")
        handle = open_unfollowed(path)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise ScriptError(f"expected a readable file, got: {reason}") from problem
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ScriptError("expected a regular file, got one that was swapped meanwhile")
        data = stream.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ScriptError(f"expected at most {limit_bytes} bytes, got more")
    return data


def walk(root: str) -> tuple[list[str], list[str]]:
    """Every regular file under `root`, and what else is there.

    Returns:
        The paths relative to `root` with `/`, unsorted, and one "path: expected X,
        got Y" line for each link, special file, odd name, case-fold twin or empty folder.
    """
    files: list[str] = []
    problems: list[str] = []
    folders = [""]
    while folders:
        prefix = folders.pop()
        with os.scandir(f"{root}/{prefix}") as found:
            entries = list(found)
        odd = _odd_names(prefix, [entry.name for entry in entries], problems)
        for entry in entries:
            # The kind comes from the folder itself or from lstat: nothing is opened for it.
            if entry.is_file(follow_symlinks=False):
                files.append(prefix + entry.name)
            elif entry.is_dir(follow_symlinks=False) and not _is_junction(entry):
                folders.append(f"{prefix}{entry.name}/")
            else:
                kind = kind_of(entry.stat(follow_symlinks=False).st_mode)
                path = shown(prefix + entry.name)
                problems.append(f"{path}: expected a regular file, got {kind}")
        if odd:
            files = [path for path in files if path not in odd]
            folders = [path for path in folders if path[:-1] not in odd]
    return files, problems


def _odd_names(prefix: str, names: list[str], problems: list[str]) -> set[str]:
    if not names:
        problems.append(f"{shown(prefix or './')}: expected files, got an empty folder")
    # All names in one look: one by one would take longer than hashing small files.
    if _NAMES.fullmatch("/".join(names)) and len({name.lower() for name in names}) == len(names):
        return set()
    folded: dict[str, str] = {}
    odd = set()
    for name in sorted(names):
        twin = folded.setdefault(name.casefold(), name)
        if twin != name:
            problems.append(
                f"{shown(prefix + name)}: expected names that differ after case folding, "
                f"got also {shown(prefix + twin)}"
            )
        if NAME.fullmatch(name) is None:
            path = prefix + name
            problems.append(f"{shown(path)}: expected a name in [A-Za-z0-9._/-], got this one")
            odd.add(path)
    return odd


def _is_junction(entry: os.DirEntry[str]) -> bool:
    # Windows' own kind of link to a folder; os.DirEntry knows it from Python 3.12 on.
    test = getattr(entry, "is_junction", None)
    return bool(test and test())
