"""The files of a repository as bytes: a git commit, a plain folder, or the clone of a URL."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import ConfigurationError, UsageError
from common.hashing import sha256_bytes
from pack import git

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIZE_LIMIT_BYTES = 48 << 20
FILES_LIMIT = 20_000
# Made by tools, fetched or private: no part of a plain folder, which has no .gitignore.
_NOT_OURS = frozenset(
    {".git", ".hg", ".svn", ".venv", "__pycache__", "node_modules", "secrets", "wheels"}
)
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Repository:
    """What was read: `files` by path with `/`, in byte order; `commit` where git knows one."""

    name: str
    commit: str | None
    files: Mapping[str, bytes]

    @property
    def tree_sha256(self) -> str:
        """The digest over `<sha256>  <path>` lines of all files."""
        digest = hashlib.sha256()
        for path, data in self.files.items():
            digest.update(f"{sha256_bytes(data)}  {path}\n".encode())
        return digest.hexdigest()


def read_repository(source: str) -> Repository:
    """Read a repository.

    Args:
        source: a folder (in a git work tree: its files at HEAD, whatever the work tree
            holds; else all regular files in it), or a git URL (https, http, ssh).

    Raises:
        UsageError: no such folder, or a URL of another kind.
        ConfigurationError: it can't be read, holds nothing, or more than a pack takes.
    """
    if git.is_url(source):
        with tempfile.TemporaryDirectory(prefix="pack-clone-") as folder:
            git.clone(source, Path(folder))
            return _from_commit(Path(folder), git.head(Path(folder)), git.name_of(source))
    root = Path(source).resolve()
    if not root.is_dir():
        raise UsageError(f"--repo: expected a folder or a git URL, got {git.without_user(source)}")
    if git.is_work_tree(root):
        return _from_commit(root, git.head(root), root.name)
    return Repository(_plain_name(root.name), None, _bounded(_walk(root), source))


def _from_commit(folder: Path, commit: str, name: str) -> Repository:
    files = _bounded(git.files_of(folder, commit, SIZE_LIMIT_BYTES), name)
    return Repository(_plain_name(name), commit, files)


def _plain_name(name: str) -> str:
    return _NAME.sub("-", name).strip("-._")[:64] or "repository"


def _bounded(files: Iterator[tuple[str, bytes]], source: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    size_bytes = 0
    for path, data in files:
        found[path] = data
        size_bytes += len(data)
        if size_bytes > SIZE_LIMIT_BYTES or len(found) > FILES_LIMIT:
            raise ConfigurationError(
                f"{git.without_user(source)}: expected at most {SIZE_LIMIT_BYTES} bytes in "
                f"{FILES_LIMIT} files, got more: give a folder of it"
            )
    if not found:
        raise ConfigurationError(f"{git.without_user(source)}: expected files, got none")
    return dict(sorted(found.items(), key=lambda item: item[0].encode()))


def _walk(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All regular files of a plain folder; links are not followed."""
    from evidence.files import read_regular

    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NOT_OURS]
        for name in names:
            path = Path(where) / name
            if stat.S_ISREG(path.lstat().st_mode):
                relative = path.relative_to(folder).as_posix()
                yield check_path(relative), read_regular(path, SIZE_LIMIT_BYTES)


def check_path(path: str) -> str:
    """The path, if it is one that can be written down for everybody.

    Raises:
        ConfigurationError: it is not UTF-8, or holds a control character or a backslash.
    """
    from evidence.files import shown

    if any(letter < " " or letter in "\\\x7f" or "\ud800" <= letter <= "\udfff" for letter in path):
        raise ConfigurationError(f"{shown(path)}: expected a plain UTF-8 path: rename the file")
    return path
