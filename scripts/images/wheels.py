"""The wheel folder of a hermetic build: every file of a lock, each held against its hash."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from common.cli import ConfigurationError, ScriptError
from common.hashing import sha256_bytes, sha256_file
from stack.environment import locked_versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MARKER = "wheels.json"
BLOCK_BYTES = 1 << 20
MAXIMUM_WHEEL_BYTES = 1 << 30
_WHEEL = re.compile(r"([A-Za-z0-9][A-Za-z0-9._]*)-([A-Za-z0-9._!+]+)-[A-Za-z0-9._-]+\.whl")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Locks:
    """What may be in the folder: `pins` maps each allowed SHA-256 to its (name, version).

    `always` are the packages that no environment marker makes optional.
    """

    contents: Mapping[str, bytes]
    pins: Mapping[str, tuple[str, str]]
    always: frozenset[str]

    def digests(self) -> dict[str, str]:
        """The SHA-256 of each lock file, by name."""
        return {name: sha256_bytes(content) for name, content in sorted(self.contents.items())}


@dataclass(frozen=True)
class WheelFolder:
    """A complete folder: SHA-256 and size of every wheel, by file name."""

    files: Mapping[str, str]
    size_bytes: int


def read_locks(paths: Sequence[Path]) -> Locks:
    """Read requirement locks.

    Raises:
        ConfigurationError: a lock is missing, an entry has no hash, or two locks disagree.
    """
    pins: dict[str, tuple[str, str]] = {}
    versions: dict[str, str] = {}
    always: set[str] = set()
    for path in paths:
        for name, version in locked_versions(path).items():
            if versions.setdefault(name, version) != version:
                raise ConfigurationError(
                    f"{path}: expected {name} {versions[name]} as in the other lock, "
                    f"got {version}: relock (nox -s lock)"
                )
        for line in path.read_text("utf-8").replace("\\\n", " ").splitlines():
            if hashes := _HASH.findall(line):
                name = canonical(line.split("==")[0])
                pins |= dict.fromkeys(hashes, (name, versions[name]))
                if ";" not in line:
                    always.add(name)
    contents = {path.name: path.read_bytes() for path in paths}
    return Locks(contents, pins, frozenset(always))


def canonical(name: str) -> str:
    """A project name as the lock spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def complete(folder: Path, locks: Locks, base: Mapping[str, str]) -> WheelFolder | None:
    """The folder, if it holds exactly what these locks and this base image need; else None."""
    marker = read_marker(folder)
    if marker is None or marker.get("requirements") != locks.digests():
        return None
    if marker.get("base") != dict(base):
        return None
    files = marker.get("files")
    found = {path.name for path in folder.iterdir()} - {MARKER}
    if not isinstance(files, dict) or not files or found != set(files):
        return None
    try:
        for name, digest in files.items():
            if sha256_file(folder / name) != digest or digest not in locks.pins:
                return None
    except (OSError, ScriptError):
        return None
    return WheelFolder(files, sum((folder / name).stat().st_size for name in files))


def read_marker(folder: Path) -> dict[str, Any] | None:
    """What a finished download wrote last, or None."""
    try:
        value = json.loads((folder / MARKER).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def fill(
    folder: Path, stream: IO[bytes], locks: Locks, base: Mapping[str, str], part: Path
) -> WheelFolder:
    """Unpack a tar of wheels, check it, and put it in the place of `folder` in one step.

    Nothing of the old folder stays; a run that is killed leaves `part`, never a folder
    that looks complete.

    Raises:
        ScriptError: a file isn't in the lock, has another hash, or one is missing.
    """
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        files, size_bytes = _unpack(part, stream, locks)
        missing = locks.always - {locks.pins[digest][0] for digest in files.values()}
        if missing:
            names = ", ".join(sorted(missing))
            raise ScriptError(f"expected every locked package, got none of {names}: run it again")
        marker = {"requirements": locks.digests(), "base": dict(base), "files": files}
        text = json.dumps(marker, indent=2, sort_keys=True) + "\n"
        (part / MARKER).write_text(text, "utf-8")
        _replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return WheelFolder(files, size_bytes)


def _unpack(part: Path, stream: IO[bytes], locks: Locks) -> tuple[dict[str, str], int]:
    files: dict[str, str] = {}
    size_bytes = 0
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                if member.isdir() and not files:
                    continue
                wheel = _WHEEL.fullmatch(name)
                content = archive.extractfile(member) if member.isreg() else None
                if not wheel or content is None or name in files:
                    raise ScriptError(f"expected wheels only, got {name[:100]!r}: run it again")
                if member.size > MAXIMUM_WHEEL_BYTES:
                    raise ScriptError(f"{name}: expected at most 1 GiB, got {member.size} bytes")
                files[name] = _write(part / name, content)
                _check(name, files[name], canonical(wheel[1]), wheel[2], locks)
                size_bytes += member.size
    except tarfile.TarError as problem:
        raise ScriptError(f"the download broke off: {problem}: run it again") from None
    return dict(sorted(files.items())), size_bytes


def _check(name: str, digest: str, project: str, version: str, locks: Locks) -> None:
    """Hold one wheel against the lock: its hash must be of this very project and version."""
    pinned = locks.pins.get(digest)
    if pinned is None:
        raise ScriptError(
            f"{name}: expected a hash of the lock, got sha256 {digest}: the file was changed on "
            "its way, or the lock is old"
        )
    if pinned != (project, version):
        raise ScriptError(f"{name}: expected {pinned[0]} {pinned[1]} for this hash, got another")


def _write(path: Path, content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    with path.open("xb") as file:
        while block := content.read(BLOCK_BYTES):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _replace(part: Path, folder: Path) -> None:
    old = part.with_name(f"{part.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
