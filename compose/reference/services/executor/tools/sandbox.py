"""The sandbox folder: reading, writing and listing that no path can lead out of (G3c).

Where the system has `openat` (Linux, macOS), every part of a path is opened relative to
the folder before it and never through a link, so that a rename meanwhile can't redirect
it; with `openat2` (Linux 5.6) the kernel refuses links, magic links and mounts itself.
Elsewhere (Windows) each part is checked first and opened by name: a race remains
there for somebody who can already write links into the sandbox, which no tool does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.executor.policy.denied import DeniedError
from services.executor.tools.kernel import open_beneath
from services.executor.tools.names import split_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HAS_OPENAT = {os.open, os.mkdir, os.stat, os.rename, os.unlink} <= os.supports_dir_fd
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_READ |= getattr(os, "O_BINARY", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_CREATE |= getattr(os, "O_BINARY", 0)
_REPARSE_POINT = 0x400  # Windows: symbolic links, junctions, mount points


class NotThereError(Exception):
    """The sandbox holds nothing under that path."""


@dataclass(frozen=True)
class Entry:
    """One entry of a folder; `kind` is "file", "folder" or "other" (never followed)."""

    name: str
    kind: str
    size_bytes: int


@dataclass(frozen=True)
class _Folder:
    """An open folder: a descriptor where there is `openat`, else only its path."""

    path: Path
    descriptor: int | None

    def at(self, name: str) -> tuple[str, int | None]:
        """The name and dir_fd under which the system finds an entry."""
        return (
            (name, self.descriptor)
            if self.descriptor is not None
            else (
                str(self.path / name),
                None,
            )
        )

    def status(self, name: str) -> os.stat_result:
        """The status of an entry itself, never of what a link leads to."""
        where, descriptor = self.at(name)
        try:
            return os.stat(where, dir_fd=descriptor, follow_symlinks=False)
        except FileNotFoundError as problem:
            raise NotThereError("the sandbox holds nothing under that path") from problem
        except NotADirectoryError as problem:
            raise NotThereError("a part of the path is a file") from problem


class Sandbox:
    """Files below one folder, which is made on first use.

    Args:
        root: the sandbox folder; trusted itself, nothing below it is.
    """

    def __init__(self, root: Path) -> None:
        """Nothing is made before the first use."""
        self.root = root
        # Held from measuring the space that is left until it is used.
        self.writing = threading.Lock()

    def read(self, text: str, limit_bytes: int) -> bytes:
        """The bytes of a regular file.

        Raises:
            DeniedError: a path that leads out, a link, a device, or more than the limit.
            NotThereError: no such file.
        """
        with self.open_file(text) as handle:
            data = b""
            while block := os.read(handle, min(limit_bytes + 1 - len(data), 1 << 20)):
                data += block
                if len(data) > limit_bytes:
                    raise DeniedError(
                        "too_large", f"expected at most {limit_bytes} bytes, the file is larger"
                    )
            return data

    @contextlib.contextmanager
    def open_file(self, text: str) -> Iterator[int]:
        """A descriptor of a regular file, open for reading.

        Raises:
            DeniedError: a path that leads out, or anything but a plain file.
            NotThereError: no such file.
        """
        parts = split_path(text)
        if not parts:
            raise DeniedError("no_plain_file", "expected a file, got a folder")
        with self._walk(parts[:-1]) as folder:
            _check_plain_file(folder.status(parts[-1]))
            where, descriptor = folder.at(parts[-1])
            with _naming_trouble():
                handle = open_beneath(where, _READ, dir_fd=descriptor)
            try:
                # Checked again on what was really opened: the name may have changed hands.
                _check_plain_file(os.fstat(handle))
                yield handle
            finally:
                os.close(handle)

    @contextlib.contextmanager
    def open_folder(self, text: str) -> Iterator[tuple[Path, int | None]]:
        """The path of a folder, and a descriptor of it where the system has them."""
        with self._walk(split_path(text)) as folder:
            yield folder.path, folder.descriptor

    def list(self, text: str, limit: int) -> list[Entry]:
        """The entries of a folder, by name, at most `limit` of them.

        Names with a leading dot are left out: no path of ours can name them, and a
        file being written has such a name until it is whole.
        """
        with self._walk(split_path(text)) as folder:
            with os.scandir(
                folder.path if folder.descriptor is None else folder.descriptor
            ) as found:
                names = sorted(item.name for item in found if not item.name.startswith("."))
            entries = []
            for name in names[:limit]:
                with contextlib.suppress(NotThereError):  # removed meanwhile
                    entries.append(_entry(name, folder.status(name)))
            return entries

    def write(self, text: str, data: bytes) -> None:
        """Write a file whole or not at all, making missing folders.

        Raises:
            DeniedError: a path that leads out, or one that is taken by another kind.
        """
        parts = split_path(text)
        if not parts:
            raise DeniedError("no_plain_file", "expected a file, got a folder")
        with self._walk(parts[:-1], make=True) as folder:
            with contextlib.suppress(NotThereError):
                _check_plain_file(folder.status(parts[-1]))
            _write_and_rename(folder, parts[-1], data)

    def usage(self) -> tuple[int, int]:
        """How many entries the sandbox holds, and how many bytes."""
        entries, size_bytes = 0, 0
        for folder, folders, files in os.walk(self.root, followlinks=False):
            entries += len(folders) + len(files)
            for name in files:
                with contextlib.suppress(OSError):
                    size_bytes += os.lstat(Path(folder) / name).st_size
        return entries, size_bytes

    @contextlib.contextmanager
    def _walk(self, parts: Sequence[str], *, make: bool = False) -> Iterator[_Folder]:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.root, _FOLDER) if HAS_OPENAT else None
        folder = _Folder(self.root, descriptor)
        try:
            for part in parts:
                folder = _step(folder, part, make=make)
            yield folder
        finally:
            if folder.descriptor is not None:
                os.close(folder.descriptor)


def _step(folder: _Folder, part: str, *, make: bool) -> _Folder:
    """Open the folder `part` in `folder` and close `folder`."""
    where, descriptor = folder.at(part)
    if make:
        with _writing_trouble(), contextlib.suppress(FileExistsError):
            os.mkdir(where, 0o700, dir_fd=descriptor)
    _check_folder(folder.status(part))
    path = folder.path / part
    if descriptor is None:
        return _Folder(path, None)
    with _naming_trouble():
        inner = open_beneath(where, _FOLDER, dir_fd=descriptor)
    os.close(descriptor)
    return _Folder(path, inner)


def _write_and_rename(folder: _Folder, name: str, data: bytes) -> None:
    temporary, descriptor = folder.at(f".{secrets.token_hex(8)}.partial")
    final, _ = folder.at(name)
    with _writing_trouble():
        handle = open_beneath(temporary, _CREATE, 0o600, dir_fd=descriptor)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, final, src_dir_fd=descriptor, dst_dir_fd=descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=descriptor)
        raise


def _check_plain_file(status: os.stat_result) -> None:
    if _is_link(status) or not stat.S_ISREG(status.st_mode):
        raise DeniedError("no_plain_file", "expected a plain file, got a link, folder or device")
    if status.st_nlink > 1:
        raise DeniedError("hard_link", "the file has a second name that may lie elsewhere")


def _check_folder(status: os.stat_result) -> None:
    if _is_link(status):
        raise DeniedError("link", "a part of the path is a link")
    if not stat.S_ISDIR(status.st_mode):
        raise NotThereError("a part of the path is no folder")


def _is_link(status: os.stat_result) -> bool:
    attributes: int = getattr(status, "st_file_attributes", 0)
    return stat.S_ISLNK(status.st_mode) or bool(attributes & _REPARSE_POINT)


@contextlib.contextmanager
def _naming_trouble() -> Iterator[None]:
    """An open that fails after its check: the entry was swapped, so it is refused."""
    try:
        yield
    except FileNotFoundError as problem:
        raise NotThereError("the sandbox holds nothing under that path") from problem
    except OSError as problem:
        raise DeniedError(
            "changed_while_opened", "the path changed while it was opened"
        ) from problem


@contextlib.contextmanager
def _writing_trouble() -> Iterator[None]:
    """A folder that belongs to somebody else: refused, and no failure of the service."""
    try:
        yield
    except PermissionError as problem:
        raise DeniedError("not_writable", "the folder can't be written") from problem


def _entry(name: str, status: os.stat_result) -> Entry:
    if _is_link(status):
        return Entry(name, "other", 0)
    if stat.S_ISDIR(status.st_mode):
        return Entry(name, "folder", 0)
    kind = "file" if stat.S_ISREG(status.st_mode) else "other"
    return Entry(name, kind, status.st_size if kind == "file" else 0)
