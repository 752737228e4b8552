"""Where backups are kept: names in a folder; what else can do this much may be one, too."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from backup.errors import reason_of
from common.cli import ScriptError, UsageError
from evidence.partials import OWNER, owner_record, partial_path, staging_path, sweep_partials

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

_NAME = re.compile(r"([a-z][a-z0-9-]{0,62}?)-(\d{8}-\d{6}(?:-\d+)?)\.tar\.zst(\.encrypted)?")
_TRIES = 1000


@dataclass(frozen=True)
class Name:
    """The file name of a backup, which only says what is inside: the manifest counts."""

    system: str
    backup_id: str
    encrypted: bool = False

    def __str__(self) -> str:
        """As in the folder."""
        return f"{self.system}-{self.backup_id}.tar.zst" + (".encrypted" if self.encrypted else "")

    @classmethod
    def parse(cls, text: str) -> Name | None:
        """The name, or None for a file that is no backup."""
        found = _NAME.fullmatch(text)
        return cls(found[1], found[2], bool(found[3])) if found else None


class Destination(Protocol):
    """What keeps finished backups; the seam for others than a local folder."""

    def names(self) -> Sequence[Name]:
        """Every finished backup, oldest first."""

    def fetch(self, name: Name) -> Path:
        """A local file with the whole backup."""

    def remove(self, name: Name) -> None:
        """Remove one backup, whole."""


class LocalFolder:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        """See the class."""
        self.root = root.absolute()

    def names(self) -> list[Name]:
        """Every finished backup, oldest first; what is hidden is in the making.

        Raises:
            UsageError: no such folder.
        """
        try:
            found = [Name.parse(path.name) for path in self.root.iterdir()]
        except OSError as problem:
            raise UsageError(f"{self.root}: {reason_of(problem)}") from problem
        return sorted((name for name in found if name), key=lambda name: _age(name.backup_id))

    def fetch(self, name: Name) -> Path:
        """Where it is."""
        return self.root / str(name)

    def remove(self, name: Name) -> None:
        """Remove one backup.

        Raises:
            ScriptError: it can't be removed.
        """
        try:
            self.fetch(name).unlink()
            sync_folder(self.root)
        except OSError as problem:
            raise ScriptError(f"can't remove {name}: {reason_of(problem)}") from problem

    @contextlib.contextmanager
    def making(self, now: datetime) -> Iterator[tuple[str, Path]]:
        """An id that nobody else has, and a hidden folder for drafts, removed at the end.

        What killed backups left is removed first.

        Raises:
            ScriptError: the folder can't be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            sweep_partials(self.root)
            backup_id, draft = self._claim(now.strftime("%Y%m%d-%H%M%S"))
        except OSError as problem:
            raise ScriptError(
                f"can't write {self.root}: {reason_of(problem)}: give a folder with space and "
                "rights"
            ) from problem
        try:
            yield backup_id, draft
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def publish(self, draft: Path, name: Name) -> Path:
        """Let a finished draft, which is on the disk, appear under its name: at once or not.

        Raises:
            OSError: it can't be.
        """
        target = self.fetch(name)
        # Nobody else has this id; a file of that name is not ours to write over.
        if os.path.lexists(target):
            raise FileExistsError(17, "a backup of that name is there", str(target))
        sync_folder(draft.parent)
        draft.rename(target)
        sync_folder(self.root)
        return target

    def _claim(self, stamp: str) -> tuple[str, Path]:
        staging = staging_path(self.root, secrets.token_hex(4))
        staging.mkdir(mode=0o700)
        try:
            (staging / OWNER).write_text(owner_record(), encoding="utf-8")
            for number in range(1, _TRIES):
                backup_id = stamp if number == 1 else f"{stamp}-{number}"
                target = partial_path(self.root, backup_id)
                if os.path.lexists(target) or self._taken(backup_id):
                    continue
                # The rename is the lock: it fails on a folder with something in it.
                with contextlib.suppress(OSError):
                    staging.rename(target)
                    if not self._taken(backup_id):
                        return backup_id, target
                    target.rename(staging)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        shutil.rmtree(staging, ignore_errors=True)
        raise ScriptError(f"{self.root}: expected a free backup id for {stamp}, got none")

    def _taken(self, backup_id: str) -> bool:
        return any(name.backup_id == backup_id for name in self.names())


def create_private(path: Path) -> BinaryIO:
    """A new file for its owner alone.

    Raises:
        OSError: it is there, or can't be made.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    return os.fdopen(handle, "w+b", buffering=1 << 20)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if os.name == "nt":  # a folder can't be opened there, and NTFS journals its names
        return
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _age(backup_id: str) -> tuple[str, int]:
    stamp, number = backup_id[:15], backup_id[16:]
    return stamp, int(number or 1)
