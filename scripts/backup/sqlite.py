"""SQLite: a snapshot by its own backup API in one step, and what the file says about itself.

One step, because a paced copy starts again at each write and never ends under writers. Read-only,
so that nothing is ever checkpointed from here: a checkpoint of a second process is what the
WAL-reset bug needs (sqlite.org/wal.html, "The WAL-Reset Bug").
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import stat
import struct
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backup.entries import Entry
from backup.errors import DamagedError, RefusedError, reason_of
from backup.snapshot import Snapshot
from common.cli import ScriptError
from common.hashing import sha256_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from backup.manifest import StoreBackup
    from stack.model import Store

BUSY_SECONDS = 30.0
_HEADER_BYTES, _MAGIC = 100, b"SQLite format 3\0"
_SIDES = ("-wal", "-shm", "-journal")
_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name, tbl_name, sql"
_BUG_FIRST, _BUG_LAST = (3, 7, 0), (3, 51, 2)
# Lines that got the fix of their own; sqlite.org/releaselog has them.
_FIXED_FROM = {(3, 50): 7, (3, 44): 6}


def snapshot(store: Store, folder: Path) -> Snapshot:
    """Copy the database as one transaction sees it.

    Raises:
        ScriptError: it is not there, can't be read, or is no database.
    """
    path, target = Path(store.location), folder / Path(store.location).name
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise ScriptError(f"the store {store.name}: expected a regular file at {path}")
        writer = _writer_version(path)
    except OSError as problem:
        raise ScriptError(f"the store {store.name} at {path}: {reason_of(problem)}") from problem
    try:
        facts = _copy(path, target)
    except sqlite3.Error as problem:
        raise ScriptError(
            f"the store {store.name} at {path}: can't copy it: {problem}"
        ) from problem
    facts |= {"library_version": sqlite3.sqlite_version, "writer_version": writer}
    versions = [sqlite3.sqlite_version, *([writer] if writer else [])]
    facts["wal_reset_risk"] = any(map(in_wal_reset_range, versions))
    root = Entry(store.name, 0o700)
    copied = Entry(f"{store.name}/{target.name}", status.st_mode & 0o777, target.stat().st_size)
    return Snapshot((root, copied), facts, partial(_examine, target, store.name))


def in_wal_reset_range(version: str) -> bool:
    """Whether a SQLite has the bug that a checkpoint beside a reset of the WAL corrupts."""
    parts = tuple(map(int, version.split(".")))
    if not _BUG_FIRST <= parts <= _BUG_LAST:
        return False
    fixed = _FIXED_FROM.get((parts[0], parts[1]))
    return fixed is None or parts[2] < fixed


def check(backup: StoreBackup, folder: Path) -> None:
    """Open the restored database and hold it against the backup's facts.

    Raises:
        DamagedError: damaged, or another schema.
    """
    path = source(backup, folder)
    found = _examine(path, backup.name)
    with _reading(path, immutable=True) as database:
        found |= _facts(database)
    # Of the store, not of its copy: SQLite counts a copy as a change of the schema.
    found.pop("schema_version")
    for name, value in found.items():
        if backup.facts[name] != value:
            raise DamagedError(
                f"the store {backup.name}: expected {name} {backup.facts[name]!r}, got {value!r}"
            )


def source(backup: StoreBackup, folder: Path) -> Path:
    """The one file of the store."""
    return folder / next(entry.path for entry in backup.entries if not entry.folder)


def beside(target: Path) -> Sequence[Path]:
    """Write-ahead log, index and journal: beside another database they corrupt it."""
    return tuple(target.with_name(target.name + side) for side in _SIDES)


def check_target(backup: StoreBackup, target: Path) -> None:
    """Refuse to replace a database of other software, or of an older schema.

    What stands there tells which schema the installed software knows. A damaged one tells
    nothing: it is what restores are for.

    Raises:
        RefusedError: see above.
    """
    try:
        # Nobody has it open; without a log it is read so that no empty one is made beside it.
        log = any(path.exists() for path in beside(target))
        with _reading(target, immutable=not log) as database:
            there = {name: _pragma(database, name) for name in ("application_id", "user_version")}
    except (sqlite3.Error, OSError):
        return
    wanted = backup.facts
    if there["application_id"] != wanted["application_id"]:
        raise RefusedError(
            f"the store {backup.name}: expected the application id {there['application_id']} of "
            f"{target}, got a backup of {wanted['application_id']}"
        )
    if there["user_version"] < wanted["user_version"]:
        raise RefusedError(
            f"the store {backup.name}: expected at most the schema version "
            f"{there['user_version']} of {target}, got a backup of {wanted['user_version']}: "
            "move the old one away yourself if the software knows the newer schema"
        )


def _copy(path: Path, target: Path) -> dict[str, Any]:
    with _reading(path, immutable=False) as live:
        # One transaction: the facts are of the very state that is copied.
        live.execute("BEGIN")
        facts = _facts(live)
        copy = sqlite3.connect(target, isolation_level=None)
        try:
            copy.execute("PRAGMA synchronous=OFF")  # a draft: what is packed of it is synced
            live.backup(copy, pages=-1)
        finally:
            copy.close()
    return facts


def _facts(database: sqlite3.Connection) -> dict[str, Any]:
    names = ("user_version", "schema_version", "application_id", "page_size", "page_count")
    facts: dict[str, Any] = {name: _pragma(database, name) for name in names}
    rows = [[str(value) for value in row] for row in database.execute(_SCHEMA)]
    return facts | {"schema_sha256": sha256_json(rows)}


def _pragma(database: sqlite3.Connection, name: str) -> int:
    return int(database.execute(f"PRAGMA {name}").fetchone()[0])


def _examine(path: Path, name: str) -> dict[str, Any]:
    try:
        with _reading(path, immutable=True) as database:
            said = [str(row[0]) for row in database.execute("PRAGMA integrity_check(3)")]
            strays = sum(1 for _ in database.execute("PRAGMA foreign_key_check"))
    except sqlite3.Error as problem:
        raise DamagedError(f"the store {name} is damaged: {problem}") from problem
    if said != ["ok"]:
        raise DamagedError(f"the store {name} is damaged: integrity_check says {'; '.join(said)}")
    return {"integrity_check": "ok", "foreign_key_violations": strays}


@contextlib.contextmanager
def _reading(path: Path, *, immutable: bool) -> Iterator[sqlite3.Connection]:
    """A connection that can't write; `immutable` for a file of ours, whose WAL is none."""
    uri = f"{path.absolute().as_uri()}?mode=ro" + ("&immutable=1" if immutable else "")
    database = sqlite3.connect(
        uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        yield database
    finally:
        database.close()


def _writer_version(path: Path) -> str | None:
    """The SQLite that last changed the file, as it noted in the header at its checkpoint."""
    with path.open("rb") as stream:
        head = stream.read(_HEADER_BYTES)
    if len(head) < _HEADER_BYTES or not head.startswith(_MAGIC):
        return None
    (number,) = struct.unpack(">I", head[96:100])
    version = f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
    return version if re.fullmatch(r"3\.\d+\.\d+", version) else None
