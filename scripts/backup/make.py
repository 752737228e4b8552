"""Make a backup: snapshots of every store, packed, checked, and published in one rename."""

from __future__ import annotations

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backup.archive import write_archive
from backup.destination import Name, create_private
from backup.errors import reason_of
from backup.kinds import ADAPTERS
from backup.manifest import SCHEMA, StoreBackup, as_bytes, parse, text_of_time
from backup.places import check_kind
from backup.switch import unfinished
from common import log
from common.cli import ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import BinaryIO

    from backup.destination import LocalFolder
    from backup.entries import Entry
    from backup.manifest import Manifest
    from backup.snapshot import Snapshot
    from stack.model import Store


@dataclass(frozen=True)
class System:
    """What is backed up, as the manifest names it."""

    name: str
    contract_sha256: str
    runtime: str


@dataclass(frozen=True)
class Made:
    """A finished backup."""

    path: Path
    manifest: Manifest


@dataclass(frozen=True)
class _Taken:
    store: Store
    snapshot: Snapshot
    folder: Path
    started: datetime


def make_backup(
    system: System,
    stores: Sequence[Store],
    destination: LocalFolder,
    *,
    key: bytes | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Made:
    """Back up stores of a system that may run.

    The recovery point is the start: whatever was acknowledged before is in it.

    Args:
        system: whose stores they are.
        stores: with placeholders filled.
        destination: where the archive goes; drafts are made there as well.
        key: encrypts with it.
        progress: told the bytes packed so far.

    Raises:
        ScriptError: a store can't be read or is damaged, or the destination can't be written;
            nothing is left.
    """
    for store in stores:
        check_kind(store)
    if notes := unfinished(Path(store.location).absolute() for store in stores):
        raise ScriptError(
            f"{notes[0]}: a restore was killed, the stores may be of two times: restore again first"
        )
    started = datetime.now(UTC)
    with destination.making(started) as (backup_id, draft):
        try:
            taken = [_take(store, draft) for store in stores]
            packed = draft / "archive"
            head = _head(system, backup_id, started)
            manifest = _pack(packed, taken, head, key, progress)
            name = Name(system.name, backup_id, key is not None)
            return Made(destination.publish(packed, name), manifest)
        except OSError as problem:
            raise ScriptError(
                f"can't write the backup to {destination.root}: {reason_of(problem)}: give a "
                "folder with space and rights"
            ) from problem


def _take(store: Store, draft: Path) -> _Taken:
    started = datetime.now(UTC)
    folder = draft / f"store-{store.name}"
    folder.mkdir(mode=0o700)
    log.say(f"copying the store {store.name} ({store.kind})")
    return _Taken(store, ADAPTERS[store.kind].snapshot(store, folder), folder, started)


def _pack(
    target: Path,
    taken: Sequence[_Taken],
    head: Mapping[str, Any],
    key: bytes | None,
    progress: Callable[[int], None],
) -> Manifest:
    taken = sorted(taken, key=lambda item: item.store.name)
    folders = {item.store.name: item.folder for item in taken}
    written: list[bytes] = []

    def content(entry: Entry) -> BinaryIO:
        name, _, inner = entry.path.partition("/")
        return (folders[name] / inner).open("rb")

    with ThreadPoolExecutor(1) as pool, create_private(target) as stream:
        # Checks read while the archive is written; it is published only if they all passed.
        checks = [pool.submit(item.snapshot.check) for item in taken]

        def finish(entries: list[Entry], tar: Mapping[str, object]) -> bytes:
            facts = [check.result() for check in checks]
            stores = [_store(*pair, entries) for pair in zip(taken, facts, strict=True)]
            finished = {"finished_utc": text_of_time(datetime.now(UTC)), "tar": dict(tar)}
            value = {**head, **finished, "stores": [store.as_json() for store in stores]}
            written.append(as_bytes(value))
            return written[0]

        entries = [entry for item in taken for entry in item.snapshot.entries]
        write_archive(stream, entries, content, finish, key=key, progress=progress)
        stream.flush()
        os.fsync(stream.fileno())
    return parse(written[0])


def _store(item: _Taken, facts: Mapping[str, Any], entries: Sequence[Entry]) -> StoreBackup:
    own = tuple(entry for entry in entries if entry.path.split("/")[0] == item.store.name)
    made = StoreBackup(item.store.name, item.store.kind, text_of_time(item.started))
    return replace(made, facts={**item.snapshot.facts, **facts}, entries=own)


def _head(system: System, backup_id: str, started: datetime) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "system": {"name": system.name, "contract_sha256": system.contract_sha256},
        "runtime": system.runtime,
        "backup_id": backup_id,
        "started_utc": text_of_time(started),
        "recovery_point_utc": text_of_time(started),
        "tools": tool_versions(),
    }


def tool_versions() -> dict[str, str]:
    """What the bytes of an archive depend on."""
    import sqlite3

    import zstandard

    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
        "zstandard": zstandard.__version__,
        "cryptography": version("cryptography"),
    }
