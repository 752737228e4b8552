"""The policies folder: every version under its own hash, and one of them approved.

    approved            the hash of the version in force, as `install` or `use` wrote it
    shipped             the hash of the version that the code brought last
    <hash>/*.rego       the files of a version, read-only (444)
    <hash>/tools.yaml

A version's hash is the SHA-256 of its `sha256sum` listing, and the name of its folder: a
version is whole, or it isn't that version. One file names the version in force, so a
change is there at once or not at all, and an older version comes back the same way (K10).
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

APPROVED = "approved"
_SHIPPED = "shipped"
DATA_FILE = "tools.yaml"
READ_ONLY = 0o444
FOLDER_MODE = 0o755
MOST_FILES = 64
LARGEST_FILE_BYTES = 1 << 20
_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}\.rego")
_WRITABLE = 0o222
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_READ |= getattr(os, "O_BINARY", 0)


class PolicyFilesError(Exception):
    """The folder holds no version, or another one than was approved."""


@dataclass(frozen=True)
class PolicyFiles:
    """The bytes of a version, read once: what is judged is what was hashed."""

    contents: Mapping[str, bytes]

    @property
    def sha256(self) -> str:
        """The hash of the version: of what `sha256sum *` would print."""
        lines = [
            f"{hashlib.sha256(data).hexdigest()}  {name}\n"
            for name, data in sorted(self.contents.items())
        ]
        return hashlib.sha256("".join(lines).encode("ascii")).hexdigest()


def read_version(folder: Path) -> PolicyFiles:
    """The policy files of a folder, all of them.

    Raises:
        PolicyFilesError: no such folder, no data file, or anything else in it.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
        if len(names) > MOST_FILES:
            raise PolicyFilesError(f"expected at most {MOST_FILES} files, got more")
        contents = {name: _content(folder, name) for name in names}
    except OSError as problem:
        raise PolicyFilesError(f"not readable: {problem.strerror}") from problem
    if DATA_FILE not in contents:
        raise PolicyFilesError(f"expected {DATA_FILE} in it, got none")
    return PolicyFiles(contents)


def approved_hash(folder: Path) -> str:
    """The hash of the version that is approved.

    Raises:
        PolicyFilesError: none is.
    """
    try:
        text = _bytes(folder / APPROVED).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise PolicyFilesError("no version is approved: install one") from problem
    if not _HASH.fullmatch(text):
        raise PolicyFilesError("expected a SHA-256 of the approved version, got other text")
    return text


def read_approved(folder: Path) -> tuple[str, PolicyFiles]:
    """The approved hash and the files that stand under it; they may be others by now.

    Raises:
        PolicyFilesError: no version is approved, or it is not there.
    """
    wanted = approved_hash(folder)
    return wanted, read_version(folder / wanted)


def writable_files(folder: Path, wanted: str) -> list[str]:
    """The names of files that their mode lets somebody write: they are 444 as installed."""
    if os.name != "posix":
        return []
    paths = [folder / APPROVED, *(folder / wanted).iterdir()]
    return [path.name for path in paths if path.lstat().st_mode & _WRITABLE]


def write_version(folder: Path, files: PolicyFiles) -> str:
    """Put a version into the folder, approve it, and give its hash."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = files.sha256
    target = folder / wanted
    if not _is_whole(target, wanted):
        target.mkdir(mode=0o700, exist_ok=True)
        # Whatever the umask: in containers the executor is another user than `prepare`.
        target.chmod(FOLDER_MODE)
        for name in {path.name for path in target.iterdir()} - files.contents.keys():
            (target / name).unlink()
        for name, data in files.contents.items():
            _replace(target / name, data)
    approve(folder, wanted)
    return wanted


def approve(folder: Path, wanted: str) -> None:
    """Let another version of the folder be in force.

    Raises:
        PolicyFilesError: it isn't there, or isn't what its name says.
    """
    if read_version(folder / wanted).sha256 != wanted:
        raise PolicyFilesError("expected files with the hash of their folder, got others")
    _replace(folder / APPROVED, f"{wanted}\n".encode("ascii"))


def brought_in(folder: Path) -> str:
    """The hash of the version that code brought last; "" where none did."""
    try:
        return _bytes(folder / _SHIPPED).decode("ascii").strip()
    except (OSError, UnicodeDecodeError, PolicyFilesError):
        return ""


def note_brought_in(folder: Path, wanted: str) -> None:
    """Remember which version the code brought."""
    _replace(folder / _SHIPPED, f"{wanted}\n".encode("ascii"))


def _is_whole(target: Path, wanted: str) -> bool:
    try:
        modes = {path.lstat().st_mode & 0o777 for path in target.iterdir()}
        return read_version(target).sha256 == wanted and (
            os.name != "posix" or modes == {READ_ONLY}
        )
    except (OSError, PolicyFilesError):
        return False


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if os.name == "posix":  # elsewhere a read-only file can't be replaced
        temporary.chmod(READ_ONLY)
    temporary.replace(path)


def _content(folder: Path, name: str) -> bytes:
    if name != DATA_FILE and not _NAME.fullmatch(name):
        raise PolicyFilesError(f"expected {DATA_FILE} and names like shell.rego, got another name")
    return _bytes(folder / name)


def _bytes(path: Path) -> bytes:
    handle = os.open(path, _READ)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise PolicyFilesError("expected plain files, got a folder or device")
        data = file.read(LARGEST_FILE_BYTES + 1)
    if len(data) > LARGEST_FILE_BYTES:
        raise PolicyFilesError(f"expected at most {LARGEST_FILE_BYTES} bytes a file, got more")
    return data
