"""What is in an image: one line for every file of its flattened file system, and its settings."""

from __future__ import annotations

import hashlib
import json
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from common.cli import ConfigurationError, ScriptError
from common.hashing import sha256_json
from common.streams import buffered
from images.task_containers import task_labels
from stack.compose.engine import engine_trouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from stack.compose.engine import Engine

BLOCK_BYTES = 1 << 20
EXTENDED_ATTRIBUTE = "SCHILY.xattr."
# What a started container is: everything else of the configuration is how it was built.
SETTINGS = (
    *("Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "OnBuild"),
    *("Shell", "StopSignal", "User", "Volumes", "WorkingDir"),
)
# Compose notes the project and its own version: who built, not what.
BUILDER_LABELS = "com.docker.compose."
_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.LNKTYPE: "hard link",
    tarfile.SYMTYPE: "symbolic link",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.DIRTYPE: "folder",
    tarfile.FIFOTYPE: "pipe",
}


@dataclass(frozen=True)
class Entry:
    """One entry of the file system; times are left out, they say when it was built."""

    kind: str
    mode: str
    uid: int
    gid: int
    size_bytes: int
    sha256: str
    target: str
    device: tuple[int, int]
    attributes: tuple[tuple[str, str], ...]

    def as_list(self) -> list[Any]:
        """For the digest: every field in its order."""
        attributes = [list(pair) for pair in self.attributes]
        fields = [self.kind, self.mode, self.uid, self.gid, self.size_bytes, self.sha256]
        return [*fields, self.target, list(self.device), attributes]


@dataclass(frozen=True)
class ImageContent:
    """An image: its id, its entries by path, the settings of its containers."""

    reference: str
    image_id: str
    entries: Mapping[str, Entry]
    settings: Mapping[str, Any]

    def digest(self) -> str:
        """SHA-256 over settings and sorted listing: the same content, the same digest."""
        digest = hashlib.sha256(sha256_json(dict(self.settings)).encode())
        for path in sorted(self.entries):
            line = json.dumps([path, *self.entries[path].as_list()], ensure_ascii=True)
            digest.update(f"\n{line}".encode())
        return digest.hexdigest()

    def size_bytes(self) -> int:
        """All files together."""
        return sum(entry.size_bytes for entry in self.entries.values())


def read_image(engine: Engine, reference: str) -> ImageContent:
    """Walk an image's file system; memory holds one line a file, never a file.

    Raises:
        ConfigurationError: the engine has no such image.
        ScriptError: the engine broke off.
    """
    from docker.errors import DockerException, ImageNotFound

    try:
        image = engine.client.images.get(reference)
        configuration = image.attrs.get("Config") or {}
        with _exported(engine, str(image.id)) as stream:
            entries = read_entries(stream)
    except ImageNotFound:
        raise ConfigurationError(
            f"the engine has no image {reference}: build or pull it, or look at `docker images`"
        ) from None
    except (DockerException, OSError) as problem:
        raise engine_trouble(problem) from None
    return ImageContent(reference, str(image.id), entries, read_settings(configuration))


def read_settings(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """What decides how a container starts, without what says who built the image."""
    settings = {name: configuration.get(name) or None for name in SETTINGS}
    labels = settings["Labels"] or {}
    kept = {name: text for name, text in labels.items() if not name.startswith(BUILDER_LABELS)}
    return settings | {"Labels": kept or None}


@contextmanager
def _exported(engine: Engine, image_id: str) -> Iterator[IO[bytes]]:
    """The file system as a tar stream, from a container that is never started."""
    container = engine.client.containers.create(
        image_id, ["never-started"], entrypoint=[], labels=task_labels("read-image")
    )
    try:
        yield buffered(cast("Iterator[bytes]", container.export(chunk_size=BLOCK_BYTES)))
    finally:
        container.remove(force=True, v=True)


def read_entries(stream: IO[bytes]) -> dict[str, Entry]:
    """Every member of a tar stream by its path.

    Raises:
        ScriptError: the stream is cut, or names a path twice.
    """
    entries: dict[str, Entry] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                path = member.name.rstrip("/")
                if path in entries:
                    raise ScriptError(
                        f"expected each path once, got {path!r} twice: export it anew"
                    )
                content = archive.extractfile(member) if member.isreg() else None
                entries[path] = _entry(member, content)
                archive.members = []  # type: ignore[attr-defined]  # else every header is kept
    except tarfile.TarError as problem:
        raise ScriptError(f"the engine's export broke off: {problem}: try again") from None
    return entries


def _entry(member: tarfile.TarInfo, content: IO[bytes] | None) -> Entry:
    digest = hashlib.sha256()
    while content is not None and (block := content.read(BLOCK_BYTES)):
        digest.update(block)
    found = member.pax_headers.items()
    return Entry(
        kind=_KINDS.get(member.type, f"type {member.type!r}"),
        mode=f"{member.mode:04o}",
        uid=member.uid,
        gid=member.gid,
        size_bytes=member.size if content is not None else 0,
        sha256=digest.hexdigest() if content is not None else "",
        target=member.linkname,
        device=(member.devmajor, member.devminor),
        attributes=tuple(sorted((k, v) for k, v in found if k.startswith(EXTENDED_ATTRIBUTE))),
    )


def differences(first: ImageContent, second: ImageContent) -> list[str]:
    """What differs, a line each: settings, then paths in their order."""
    lines = [
        f"settings {name}: {first.settings[name]!r} and {second.settings[name]!r}"
        for name in SETTINGS
        if first.settings[name] != second.settings[name]
    ]
    for path in sorted({*first.entries, *second.entries}):
        one, other = first.entries.get(path), second.entries.get(path)
        if one is None or other is None:
            lines.append(f"{path}: only in {(second if one is None else first).reference}")
        elif one != other:
            lines.append(f"{path}: {_unlike(one, other)}")
    return lines


def _unlike(one: Entry, other: Entry) -> str:
    names = [
        name for name in Entry.__dataclass_fields__ if getattr(one, name) != getattr(other, name)
    ]
    return ", ".join(f"{name} {getattr(one, name)} and {getattr(other, name)}" for name in names)
