"""Modes of files inside a container, without any program inside it: as `docker cp` sees them."""

from __future__ import annotations

import fnmatch
import io
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from common.cli import ScriptError
from stack.compose.engine import ask

if TYPE_CHECKING:
    from stack.compose.engine import Engine

_LARGEST_BYTES = 32 << 20
_PERMISSIONS = 0o777
# The high bits of Go's os.FileMode, in which the engine gives a mode.
_GO_LINK = 1 << 27
_PATTERN = frozenset("*?[")


def modes_in(engine: Engine, container: str, path: str) -> dict[str, int]:
    """The permission bits of a path, or of each file that it matches where it is a pattern.

    Raises:
        ScriptError: there is no such file, it is a link, or its folder is too large to read.
    """
    folder, pattern = _split(path)
    if not pattern:
        _, status = ask(lambda: engine.api.get_archive(container, path))
        if int(status["mode"]) & _GO_LINK:
            raise ScriptError(f"expected a file at {path}, got a link")
        return {path: int(status["mode"]) & _PERMISSIONS}
    found = {
        "/".join(parts): item.mode & _PERMISSIONS
        for item in _members(engine, container, folder)
        # The folder itself is the first part of every name.
        if item.isfile() and _fits(parts := PurePosixPath(item.name).parts[1:], pattern)
    }
    if not found:
        raise ScriptError(f"expected a file at {path}, got none")
    return found


def _split(path: str) -> tuple[str, tuple[str, ...]]:
    """The folder before the first part that is a pattern, and the parts from there."""
    parts = PurePosixPath(path).parts
    first = next((at for at, part in enumerate(parts) if set(part) & _PATTERN), len(parts))
    return str(PurePosixPath(*parts[:first])), parts[first:]


def _fits(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    return len(parts) == len(pattern) and all(map(fnmatch.fnmatchcase, parts, pattern))


def _members(engine: Engine, container: str, folder: str) -> list[tarfile.TarInfo]:
    """All that is below a folder."""
    chunks, _ = ask(lambda: engine.api.get_archive(container, folder))
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) > _LARGEST_BYTES:
            raise ScriptError(f"{folder} is larger than {_LARGEST_BYTES >> 20} MiB: name its files")
    with tarfile.open(fileobj=io.BytesIO(bytes(data))) as archive:
        return archive.getmembers()
