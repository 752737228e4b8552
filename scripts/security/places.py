"""Files of the system under proof: keys to forge with, bait to plant, traces to look for."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import socket
import stat
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from stack.placeholders import fill

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from security.model import Security
    from stack.runtime import Runtime

MOST_ENTRIES = 5_000
_RENAME_EXCHANGE, _AT_FDCWD = 2, -100


class NotHadError(ScriptError):
    """Something that a case needs can't be had on this runtime: it is not run."""


class Places:
    """The places of a stack's `security` section, as far as this runtime lets us see them."""

    def __init__(self, security: Security, runtime: Runtime) -> None:
        """Nothing is looked at before it is asked for."""
        self._security, self._runtime = security, runtime

    def path(self, name: str) -> Path:
        """Where a place is.

        Raises:
            NotHadError: this runtime's files can't be seen.
        """
        return self._filled(self._security.places[name], f"the place {name}")

    def inside(self, name: str) -> str:
        """Where a place is for the services: in a container its own path."""
        text = self._security.places[name].get(self._runtime.name, "")
        service, _, path = text.partition(":")
        return path if path.startswith("/") and "/" not in service else str(self.path(name))

    def known(self) -> dict[str, Path]:
        """The places that can be seen."""
        found = {}
        for name in self._security.places:
            with contextlib.suppress(NotHadError):
                found[name] = self.path(name)
        return found

    def read_key(self, by_runtime: Mapping[str, str], caller: str) -> bytes:
        """The bytes of a caller's key file.

        Raises:
            NotHadError: it can't be seen, or there is none.
        """
        path = self._filled(by_runtime, "the keys", caller=caller)
        try:
            return path.read_bytes()
        except OSError as problem:
            reason = (problem.strerror or str(problem)).lower()
            raise NotHadError(f"the key of {caller} can't be read: {reason}") from problem

    def _filled(self, by_runtime: Mapping[str, str], what: str, **more: str) -> Path:
        text = by_runtime.get(self._runtime.name)
        placed = self._runtime.place(fill(text, more)) if text else None
        if placed is None:
            raise NotHadError(f"{what} can't be seen on the runtime {self._runtime.name}")
        return Path(placed)


def snapshot(path: Path) -> dict[str, str]:
    """What is at a path: each entry below it with its kind, size and content's digest.

    Raises:
        ScriptError: more entries than can be compared: a look at a part proves nothing.
    """
    found: dict[str, str] = {}
    waiting = [path]
    while waiting:
        item = waiting.pop()
        try:
            status = item.lstat()
        except OSError:
            continue
        found[str(item)] = _fingerprint(item, status)
        if stat.S_ISDIR(status.st_mode):
            with contextlib.suppress(OSError):  # what was a folder may be a link by now
                waiting += item.iterdir()
        if len(found) > MOST_ENTRIES:
            raise ScriptError(f"{path}: expected at most {MOST_ENTRIES} entries, got more")
    return found


def _fingerprint(path: Path, status: os.stat_result) -> str:
    kind = stat.filemode(status.st_mode)
    try:
        if stat.S_ISLNK(status.st_mode):
            return f"{kind} {path.readlink()}"
        if not stat.S_ISREG(status.st_mode):
            return kind
        return f"{kind} {status.st_size} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError:
        return f"{kind} {status.st_size}"


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What is new, changed or gone, a line each."""
    new = [f"new: {path}" for path in after if path not in before]
    gone = [f"gone: {path}" for path in before if path not in after]
    other = [f"changed: {path}" for path in after if before.get(path, after[path]) != after[path]]
    return sorted([*new, *gone, *other])


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
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was planted, whatever became of it."""
        self._open.close()
        for path in reversed(self._made):
            remove(path)

    def _plant(self, item: Mapping[str, Any]) -> None:
        path, kind = Path(item["path"]), item["kind"]
        self._make_parents(path.parent)
        if kind == "folder":
            path.mkdir(exist_ok=True)
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
            other = path.with_name(f"{path.name}-other")
            path.mkdir()
            other.symlink_to(item["target"])
            self._made.append(other)
            self._open.enter_context(Swapper(path, other))
        self._made.append(path)

    def _make_parents(self, folder: Path) -> None:
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for path in reversed(missing):
            path.mkdir()
            self._made.append(path)


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
