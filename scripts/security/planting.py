"""What a case needs on disk: bait, links, pipes, names that change places, changed files."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import stat
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from security.places import NotHadError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

_RENAME_EXCHANGE, _AT_FDCWD = 2, -100


class Planted:
    """What a case needs on disk, for as long as the case runs."""

    def __init__(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Take the filled `plant` of a case; nothing is written yet."""
        self._items = items
        self._made: list[Path] = []
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Plant everything.

        Raises:
            NotHadError: it can't be written there.
        """
        try:
            for item in self._items:
                self._plant(item)
        except OSError as problem:
            self.__exit__()
            raise NotHadError(f"can't plant {problem.filename}: {problem.strerror}") from problem
        except BaseException:  # Ctrl-C among them: a changed file must not stay
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was planted, whatever became of it."""
        try:
            self._open.close()
        finally:
            for path in reversed(self._made):
                remove(path)

    def _plant(self, item: Mapping[str, Any]) -> None:
        path, kind = _only(Path(item["path"])), item["kind"]
        if kind in {"change", "mode"}:
            self._open.callback(Kept(path).restore)
            change(path, item)
            return
        self._make_parents(path.parent)
        if kind == "folder" and path.is_dir():
            return  # it was there: not ours to remove
        if kind == "folder":
            path.mkdir()
        elif kind == "file":
            path.write_text(item.get("content", ""), "utf-8")
        elif kind == "symlink":
            path.symlink_to(item["target"])
        elif kind == "hard_link":
            path.hardlink_to(item["target"])
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind == "socket":
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            self._open.callback(listener.close)
        else:
            self._swap(path, item["target"])
        self._note(path, give=kind != "hard_link")  # its owner is that of the file

    def _swap(self, path: Path, target: str) -> None:
        other = path.with_name(f"{path.name}-other")
        path.mkdir()
        self._note(path)
        other.symlink_to(target)
        self._note(other)
        self._open.enter_context(Swapper(path, other))

    def _make_parents(self, folder: Path) -> None:
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            path.mkdir()
            self._note(path)

    def _note(self, path: Path, *, give: bool = True) -> None:
        """Remember to remove it, and give it to whoever owns the folder that it is in.

        A service could not write into what belongs to root, whatever it tried: the attack
        would be held by the owner of the bait (seen in containers, 2026-11-21).
        """
        if path not in self._made:
            self._made.append(path)
        owner = path.parent.stat()
        if give and hasattr(os, "lchown") and path.lstat().st_uid != owner.st_uid:
            os.lchown(path, owner.st_uid, owner.st_gid)


def _only(path: Path) -> Path:
    """The path with each `*` in it as the name of the one folder that is there.

    Raises:
        NotHadError: there is none, or more than one.
    """
    found = Path(path.anchor)
    for part in path.parts[1:]:
        folders = [item for item in found.iterdir() if item.is_dir()] if part == "*" else []
        if part == "*" and len(folders) != 1:
            raise NotHadError(f"expected one folder in {found.name}, got {len(folders)}")
        found = folders[0] if part == "*" else found / part
    return found


class Kept:
    """A file as it was, content and mode."""

    def __init__(self, path: Path) -> None:
        """Remember it."""
        self._path, self._data = path, path.read_bytes()
        self._mode = stat.S_IMODE(path.stat().st_mode)

    def restore(self) -> None:
        """Put it back, in its place."""
        self._path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        self._path.write_bytes(self._data)
        self._path.chmod(self._mode)


def change(path: Path, item: Mapping[str, Any]) -> None:
    """Give a file another content under its old mode, or another mode.

    Raises:
        NotHadError: what should be replaced is not in it.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if item["kind"] == "change":
        text, find = path.read_text("utf-8"), item.get("find")
        if find and find not in text:
            raise NotHadError(f"expected {find!r} in {path.name}, got a file without it")
        new = text.replace(find, item["content"]) if find else item["content"]
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        path.write_text(new, "utf-8")
    path.chmod(int(item.get("mode", f"{mode:o}"), 8))


class Swapper:
    """Two entries that change places as fast as they can: a folder, and a link that leads out."""

    def __init__(self, first: Path, second: Path) -> None:
        """Nothing moves before the block is entered."""
        self._pair = os.fsencode(first), os.fsencode(second)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._swap, daemon=True)

    def __enter__(self) -> Self:
        """Start.

        Raises:
            NotHadError: this system can't exchange two names in one step.
        """
        if sys.platform != "linux":
            raise NotHadError("names can be exchanged in one step on Linux only")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._over.set()
        self._thread.join()

    def _swap(self) -> None:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        while not self._over.is_set():
            rename(_AT_FDCWD, self._pair[0], _AT_FDCWD, self._pair[1], _RENAME_EXCHANGE)
            self._over.wait(0.00005)


def remove(path: Path) -> None:
    """Remove whatever is there, and follow no link."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
