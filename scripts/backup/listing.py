"""What is in a destination, and in which state each backup is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from backup.archive import Archive
from common.cli import ConfigurationError, ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backup.destination import Destination, Name
    from backup.manifest import Manifest

GOOD, DAMAGED, UNCHECKED, LOCKED = "good", "damaged", "unchecked", "locked"


@dataclass(frozen=True)
class Listed:
    """One backup of a destination.

    `good`: every byte is what was written. `unchecked`: only manifest and length were looked
    at. `locked`: encrypted, and its key was not given.
    """

    name: Name
    path: Path
    state: str
    size_bytes: int
    manifest: Manifest | None = None
    problem: str = ""

    @property
    def recovery_point(self) -> datetime | None:
        """What was acknowledged before is in it; None where the manifest can't be read."""
        if self.manifest is None:
            return None
        return datetime.fromisoformat(str(self.manifest.value["recovery_point_utc"])).astimezone(
            UTC
        )

    def as_json(self) -> dict[str, Any]:
        """What a machine reads."""
        row: dict[str, Any] = {
            "file": str(self.name),
            "state": self.state,
            "size_bytes": self.size_bytes,
            "problem": self.problem,
        }
        if self.manifest is not None:
            keys = ("system", "runtime", "backup_id", "recovery_point_utc", "finished_utc", "tar")
            row |= {key: self.manifest.value[key] for key in keys}
            row["stores"] = [
                {
                    "name": item.name,
                    "kind": item.kind,
                    "digest": item.digest,
                    "size_bytes": item.size_bytes,
                }
                for item in self.manifest.stores
            ]
        return row


def listed(
    destination: Destination,
    key: bytes | None = None,
    *,
    quick: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Listed]:
    """Every finished backup, oldest first; those in the making are not there.

    Args:
        destination: where they are.
        key: opens encrypted ones.
        quick: look at manifests and lengths only; then none is called good.
        progress: told how many are done.
    """
    found = []
    for name in destination.names():
        found.append(_look(name, destination.fetch(name), key, quick=quick))
        progress(len(found))
    return found


def _look(name: Name, path: Path, key: bytes | None, *, quick: bool) -> Listed:
    size = 0
    try:
        size = path.lstat().st_size
        with Archive.open(path, key) as archive:
            _check_name(name, archive)
            if not quick:
                archive.check_bytes()
            return Listed(name, path, UNCHECKED if quick else GOOD, size, archive.manifest)
    except ConfigurationError as problem:
        return Listed(name, path, LOCKED, size, problem=str(problem))
    except (ScriptError, OSError) as problem:
        return Listed(name, path, DAMAGED, size, problem=str(problem))


def _check_name(name: Name, archive: Archive) -> None:
    value = archive.manifest.value
    inside = (archive.manifest.system, value["backup_id"], archive.encrypted)
    if inside != (name.system, name.backup_id, name.encrypted):
        raise ScriptError(f"expected the backup that its name says, got {inside[0]} {inside[1]}")
