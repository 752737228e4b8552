"""Files of the system under proof: keys to forge with, places of bait, traces to look for."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import ScriptError
from stack.placeholders import fill

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from security.model import Security
    from stack.runtime import Runtime

MOST_ENTRIES = 5_000
# Gone, or another kind of entry by now: names change places while we look.
_MOVED = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP}


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
        NotHadError: something of it may not be looked at: what changes there is not seen.
        ScriptError: more entries than can be compared: a look at a part proves nothing.
    """
    found: dict[str, str] = {}
    waiting = [path]
    while waiting:
        item = waiting.pop()
        try:
            status = item.lstat()
            found[str(item)] = _fingerprint(item, status)
            if stat.S_ISDIR(status.st_mode):
                waiting += item.iterdir()
        except OSError as problem:
            if problem.errno in _MOVED:
                continue
            reason = (problem.strerror or str(problem)).lower()
            raise NotHadError(f"{item.name} can't be looked at: {reason}") from problem
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
    except OSError as problem:
        if problem.errno in _MOVED:
            return f"{kind} {status.st_size}"
        raise


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What is new, changed or gone, a line each."""
    new = [f"new: {path}" for path in after if path not in before]
    gone = [f"gone: {path}" for path in before if path not in after]
    other = [f"changed: {path}" for path in after if before.get(path, after[path]) != after[path]]
    return sorted([*new, *gone, *other])
