"""The manifest of a backup: made, written, and believed only after it was checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from backup.entries import Entry, check_paths, in_order, tar_bytes
from backup.errors import DamagedError, RefusedError
from common.cli import ConfigurationError
from common.documents import parse_json
from common.hashing import canonical_json, sha256_json
from common.schema import check_value

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = "backup_manifest/1"


@dataclass(frozen=True)
class StoreBackup:
    """One store inside a backup.

    Args:
        name: of the stack file; every path of `entries` starts with it.
        kind: which adapter made it, and restores it.
        started_utc: when its snapshot began.
        facts: what the adapter knows, such as versions of schema and library.
        entries: folders and files, in order.
    """

    name: str
    kind: str
    started_utc: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    entries: tuple[Entry, ...] = ()

    @property
    def digest(self) -> str:
        """One hash over every path, mode and content."""
        return sha256_json([entry.as_json() for entry in self.entries])

    @property
    def size_bytes(self) -> int:
        """Bytes of content."""
        return sum(entry.length for entry in self.entries)

    def as_json(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {
            "name": self.name,
            "kind": self.kind,
            "digest": self.digest,
            "started_utc": self.started_utc,
            "facts": dict(self.facts),
            "folders": [entry.as_json() for entry in self.entries if entry.folder],
            "files": [entry.as_json() for entry in self.entries if not entry.folder],
        }


@dataclass(frozen=True)
class Manifest:
    """What a backup says about itself; `value` fits schemas/backup_manifest.schema.json."""

    value: Mapping[str, Any]
    stores: tuple[StoreBackup, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Of all stores, in the order of the tar."""
        return tuple(entry for store in self.stores for entry in store.entries)

    @property
    def system(self) -> str:
        """The name of the system that was backed up."""
        return str(self.value["system"]["name"])

    @property
    def tar_sha256(self) -> str:
        """The SHA-256 of the uncompressed tar."""
        return str(self.value["tar"]["sha256"])

    @property
    def tar_size_bytes(self) -> int:
        """How long the uncompressed tar is."""
        return int(self.value["tar"]["size_bytes"])

    def store(self, name: str) -> StoreBackup:
        """The store of that name.

        Raises:
            RefusedError: the backup has none.
        """
        for item in self.stores:
            if item.name == name:
                return item
        known = ", ".join(item.name for item in self.stores)
        raise RefusedError(f"expected a store of the backup ({known}), got {name!r}")


def as_bytes(value: Mapping[str, Any]) -> bytes:
    """A manifest as it is written: canonical JSON.

    Raises:
        ConfigurationError: it does not fit its schema.
    """
    check_value(value, "backup_manifest", "the manifest")
    return canonical_json(value)


def parse(data: bytes) -> Manifest:
    """Read a manifest whose bytes are those that were written.

    Raises:
        RefusedError: of a newer format, or it contradicts itself.
        DamagedError: no manifest at all.
    """
    try:
        value = parse_json(data, "the manifest")
    except ConfigurationError as problem:
        raise DamagedError(f"damaged: {problem}") from problem
    _check_format(value)
    try:
        check_value(value, "backup_manifest", "the manifest")
    except ConfigurationError as problem:
        raise RefusedError(str(problem)) from problem
    manifest = Manifest(value, tuple(map(_store, value["stores"])))
    _check(manifest)
    return manifest


def text_of_time(moment: datetime) -> str:
    """RFC 3339 with milliseconds and Z, of an aware time in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def _check_format(value: object) -> None:
    schema = value.get("schema") if isinstance(value, dict) else None
    kind, _, version = str(schema).partition("/")
    if kind == "backup_manifest" and version.isdecimal() and version != "1":
        raise RefusedError(
            f"expected a manifest {SCHEMA}, got {schema}: a newer Proof Pack wrote it, restore "
            "with that one"
        )


def _store(value: Mapping[str, Any]) -> StoreBackup:
    folders = [Entry(item["path"], int(item["mode"], 8)) for item in value["folders"]]
    files = [
        Entry(item["path"], int(item["mode"], 8), item["size_bytes"], item["sha256"])
        for item in value["files"]
    ]
    entries = in_order([*folders, *files])
    return StoreBackup(value["name"], value["kind"], value["started_utc"], value["facts"], entries)


def _check(manifest: Manifest) -> None:
    for key in ("started_utc", "finished_utc", "recovery_point_utc"):
        try:
            datetime.fromisoformat(manifest.value[key])
        except ValueError as problem:
            raise RefusedError(f"{key}: expected a time, got {manifest.value[key]}") from problem
    for store in manifest.stores:
        _check_inside(store)
    check_paths(manifest.entries)
    for store, listed in zip(manifest.stores, manifest.value["stores"], strict=True):
        if store.digest != listed["digest"]:
            raise RefusedError(
                f"the store {store.name}: expected the digest {store.digest} of its files, "
                f"got {listed['digest']}"
            )
    wanted = tar_bytes(manifest.entries)
    if wanted != manifest.tar_size_bytes:
        raise RefusedError(
            f"expected a tar of {wanted} bytes for these files, got {manifest.tar_size_bytes}"
        )


def _check_inside(store: StoreBackup) -> None:
    first = store.entries[0]
    if not first.folder or first.path != store.name:
        raise RefusedError(f"the store {store.name}: expected its own folder first")
    if any(item.path.split("/")[0] != store.name for item in store.entries):
        raise RefusedError(f"the store {store.name}: expected only paths below its own folder")
