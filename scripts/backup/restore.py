"""Restore a backup: checked in full, unpacked beside its place, looked at, then put in place."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backup.destination import sync_folder
from backup.errors import RefusedError, reason_of
from backup.in_use import users_of
from backup.kinds import ADAPTERS
from backup.switch import Move, noted_asides, switch
from backup.unpack import NewFolder, Nowhere, unpack
from common import log
from common.cli import ScriptError, UsageError
from evidence.partials import staging_path, sweep_partials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from backup.archive import Archive
    from backup.entries import Entry
    from backup.manifest import StoreBackup
    from stack.model import Store

_SLACK_BYTES = 1 << 20


@dataclass(frozen=True)
class Restored:
    """What a restore did: the places in use now, and where the old ones are."""

    targets: tuple[Path, ...]
    asides: tuple[Path, ...] = ()


def verify_archive(archive: Archive, progress: Callable[[int], None] = lambda _: None) -> None:
    """Read all of an archive against its manifest; nothing is written.

    Raises:
        DamagedError: it is not what was written.
        RefusedError: it holds something else than it says, or a kind without an adapter.
    """
    _check_kinds(archive.manifest.stores)
    unpack(archive, Nowhere(), progress)


def verify_restored(archive: Archive, scratch: Path | None = None) -> None:
    """Restore everything into a scratch folder, look at each store, and remove it again.

    Args:
        archive: read in full before.
        scratch: where the scratch folder is made; default the system's temporary folder.

    Raises:
        DamagedError: a store is not what the backup says.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="proof-pack-verify-", dir=scratch))
    except OSError as problem:
        raise UsageError(f"--scratch {scratch}: {reason_of(problem)}") from problem
    try:
        _unpack_checked(archive, folder, archive.manifest.stores)
    finally:
        _remove_tree(folder)


def restore_into(archive: Archive, folder: Path, stores: Sequence[StoreBackup]) -> Restored:
    """Restore into a folder of its own, which appears at once and complete.

    Raises:
        UsageError: the folder is there and not empty.
        ScriptError: it can't be written, or the archive is not what it says.
    """
    folder = folder.absolute()
    if os.path.lexists(folder) and (
        not folder.is_dir() or folder.is_symlink() or any(folder.iterdir())
    ):
        raise UsageError(f"--into {folder}: expected a new or an empty folder")
    with _staging([folder.parent]) as stagings:
        _unpack_checked(archive, stagings[folder.parent], stores)
        try:
            stagings[folder.parent].rename(folder)
            sync_folder(folder.parent)
        except OSError as problem:
            raise ScriptError(f"can't write {folder}: {reason_of(problem)}") from problem
    return Restored(tuple(folder / store.name for store in stores))


def restore_in_place(
    archive: Archive, stores: Sequence[Store], *, replace: bool = False
) -> Restored:
    """Restore stores where the system keeps them; the system must not run.

    Args:
        archive: read in full before.
        stores: where each goes, placeholders filled.
        replace: move what stands there aside; else it is an error.

    Raises:
        RefusedError: something has a store open, something stands there, or the backup does
            not fit it.
        ScriptError: a place can't be written, or the archive is not what it says.
    """
    places = {store.name: Path(store.location).absolute() for store in stores}
    wanted = [_matching(archive, store) for store in stores]
    asides = noted_asides([*places.values()])
    for backup in wanted:
        _check_place(backup, places[backup.name], replace=replace, again=bool(asides))
    with _staging([path.parent for path in places.values()]) as stagings:
        moves = []
        for parent, staging in stagings.items():
            there = [item for item in wanted if places[item.name].parent == parent]
            _unpack_checked(archive, staging, there)
            moves += [_move(item, staging, places[item.name], asides, archive) for item in there]
        _check_unused(wanted, places)
        try:
            old = switch(moves)
        except OSError as problem:
            raise ScriptError(
                f"can't put the stores in place: {problem.filename}: {reason_of(problem)}: "
                "some may be new and some old: restore again"
            ) from problem
    return Restored(tuple(places.values()), tuple(old))


def _check_kinds(stores: Sequence[StoreBackup]) -> None:
    for store in stores:
        if store.kind not in ADAPTERS:
            known = " or ".join(ADAPTERS)
            raise RefusedError(f"the store {store.name}: expected {known}, got {store.kind}")


def _matching(archive: Archive, store: Store) -> StoreBackup:
    backup = archive.manifest.store(store.name)
    if backup.kind != store.kind:
        raise RefusedError(
            f"the store {store.name}: expected a backup of the kind {store.kind}, got {backup.kind}"
        )
    return backup


def _check_place(backup: StoreBackup, target: Path, *, replace: bool, again: bool) -> None:
    adapter = ADAPTERS[backup.kind]
    there = [path for path in (target, *adapter.beside(target)) if os.path.lexists(path)]
    if there and not (replace or again):
        raise RefusedError(
            f"the store {backup.name}: expected nothing at its place, got {there[0]}: "
            "--replace moves it aside"
        )
    if users := users_of(there):
        raise RefusedError(f"the store {backup.name} is in use: {users[0]}: stop the system first")
    if os.path.lexists(target) and not again:
        adapter.check_target(backup, target)


def _check_unused(backups: Sequence[StoreBackup], places: dict[str, Path]) -> None:
    """Once more, now that unpacking took its time."""
    for backup in backups:
        target = places[backup.name]
        if users := users_of([target, *ADAPTERS[backup.kind].beside(target)]):
            raise RefusedError(
                f"the store {backup.name} is in use: {users[0]}: stop the system first"
            )


def _move(
    backup: StoreBackup, staging: Path, target: Path, asides: dict[Path, Path], archive: Archive
) -> Move:
    adapter = ADAPTERS[backup.kind]
    beside = tuple(adapter.beside(target))
    aside = asides.get(target)
    number = 1
    while aside is None:
        stamp = archive.manifest.value["backup_id"] + (f".{number}" if number > 1 else "")
        free = target.with_name(f"{target.name}.before-{stamp}")
        aside = None if os.path.lexists(free) else free
        number += 1
    return Move(adapter.source(backup, staging), target, beside, aside)


def _unpack_checked(archive: Archive, folder: Path, stores: Sequence[StoreBackup]) -> None:
    """Unpack some stores, on the disk when this returns, and look at each."""
    _check_kinds(stores)
    needed = sum(store.size_bytes for store in stores) + _SLACK_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ScriptError(f"{folder.parent}: expected {needed} bytes of space, got {free}")
    names = {store.name for store in stores}

    def wanted(entry: Entry) -> bool:
        return entry.path.split("/")[0] in names

    log.say(f"restoring {', '.join(sorted(names))}")
    sink = NewFolder(folder, wanted)
    unpack(archive, sink)
    try:
        sink.finish()
    except OSError as problem:
        raise ScriptError(f"can't write {folder}: {reason_of(problem)}") from problem
    for store in stores:
        ADAPTERS[store.kind].check(store, folder)


@contextlib.contextmanager
def _staging(parents: Sequence[Path]) -> Iterator[dict[Path, Path]]:
    """A hidden folder in each parent, with its owner in its name; those of the dead go first."""
    made: dict[Path, Path] = {}
    try:
        for parent in dict.fromkeys(parents):
            try:
                parent.mkdir(parents=True, exist_ok=True)
                sweep_partials(parent)
                staging = staging_path(parent, secrets.token_hex(4))
                staging.mkdir(mode=0o700)
            except OSError as problem:
                raise ScriptError(f"can't write {parent}: {reason_of(problem)}") from problem
            made[parent] = staging
        yield made
    finally:
        for folder in made.values():
            _remove_tree(folder)


def _remove_tree(folder: Path) -> None:
    """Remove a tree of ours, also folders that came without the right to write."""
    for path, folders, _ in os.walk(folder):
        for name in folders:
            with contextlib.suppress(OSError):
                (Path(path) / name).chmod(0o700)  # our own: no links are in it
    shutil.rmtree(folder, ignore_errors=True)
