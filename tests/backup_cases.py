"""Stores, writers and archives that the tests of backups share."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zstandard

from backup.archive import Archive
from backup.destination import LocalFolder
from backup.entries import END, header, padding
from backup.make import Made, System, make_backup
from common.hashing import canonical_json, sha256_json
from stack.model import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from backup.entries import Entry

KEY = bytes(range(32))
SYSTEM = System("shop", "0" * 64, "process")
PLACES = {
    "orders": {"process": {"kind": "sqlite", "location": "{state}/orders.db"}},
    "uploads": {"process": {"kind": "directory", "location": "{state}/uploads"}},
}


def make_database(path: Path, rows: int = 50, user_version: int = 3) -> Path:
    """A database in WAL mode whose rows are numbered and carry their own checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY, content BLOB, sha256 TEXT)")
    database.execute("CREATE TABLE total (only INTEGER PRIMARY KEY, rows INTEGER)")
    database.execute("INSERT INTO total VALUES (1, 0)")
    database.execute(f"PRAGMA user_version={user_version}")
    for number in range(1, rows + 1):
        add_order(database, number)
    database.commit()
    database.close()
    path.chmod(0o600)
    return path


def add_order(database: sqlite3.Connection, number: int) -> None:
    """One order; `total` says in the same transaction how many there are."""
    content = hashlib.sha256(str(number).encode()).digest() * 20
    row = (number, content, hashlib.sha256(content).hexdigest())
    database.execute("INSERT INTO orders VALUES (?, ?, ?)", row)
    database.execute("UPDATE total SET rows = ?", (number,))


def count_orders(path: Path) -> int:
    """How many orders there are; they are contiguous, whole, and as many as the total says."""
    database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        rows = database.execute("SELECT number, content, sha256 FROM orders ORDER BY number")
        found = rows.fetchall()
        (total,) = database.execute("SELECT rows FROM total").fetchone()
    finally:
        database.close()
    assert [row[0] for row in found] == [*range(1, len(found) + 1)]
    assert all(hashlib.sha256(row[1]).hexdigest() == row[2] for row in found)
    assert total == len(found)
    return len(found)


def make_uploads(folder: Path) -> Path:
    """A folder with an empty file, an empty folder, a long name and a name with an accent."""
    (folder / "empty").mkdir(parents=True)
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "one.txt").write_text("one\n")
    (folder / "a" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "a" / "run.sh").chmod(0o750)
    (folder / "nothing").write_bytes(b"")
    (folder / ("long" * 40)).write_bytes(bytes(3000))
    (folder / "é").write_text("accent")
    return folder


class Shop:
    """A system with a database and a folder, and a place for its backups."""

    def __init__(self, root: Path) -> None:
        """Make it below `root`."""
        self.root, self.state, self.backups = root, root / "state", root / "backups"
        self.orders = make_database(self.state / "orders.db")
        self.uploads = make_uploads(self.state / "uploads")
        self.stack = root / "stack.yaml"
        self.stack.write_text(stack_text())

    @property
    def stores(self) -> tuple[Store, Store]:
        """Both stores, with their places."""
        orders = Store("orders", "sqlite", str(self.orders))
        return orders, Store("uploads", "directory", str(self.uploads))

    def back_up(self, key: bytes | None = None) -> Made:
        """Make a backup."""
        return make_backup(SYSTEM, self.stores, LocalFolder(self.backups), key=key)

    def options(self, *words: str) -> list[str]:
        """Arguments of the script that mean this system."""
        return [*words, "--stack", str(self.stack), "--state", str(self.state)]


def stack_text() -> str:
    """The stack file: the documented example with the stores of the shop."""
    import yaml

    text = (Path(__file__).parents[1] / "docs/stack-file.md").read_text("utf-8")
    value = yaml.safe_load(text.split("```yaml\n", 1)[1].split("\n```", 1)[0])
    value["name"] = "shop"
    value["workload"]["verify"]["store"]["store"] = "orders"
    value["stores"] = PLACES
    return str(yaml.safe_dump(value, sort_keys=False))


class Writers:
    """Threads that add orders as fast as they can, until the end of the block."""

    def __init__(self, path: Path) -> None:
        """See the class."""
        self._path, self._stop, self.acknowledged = path, threading.Event(), 0
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def _write(self) -> None:
        database = sqlite3.connect(self._path, timeout=30)
        (number,) = database.execute("SELECT max(number) FROM orders").fetchone()
        while not self._stop.is_set():
            number += 1
            add_order(database, number)
            database.commit()
            self.acknowledged = number
        database.close()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()


def forge(
    good: Path,
    target: Path,
    *,
    tar: Callable[[Sequence[Entry], bytes], bytes] | None = None,
    manifest: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """An archive whose hashes are all right, of somebody who changed what is in it.

    Args:
        good: the archive to start from.
        target: where the forged one goes.
        tar: makes the tar out of the entries and the good tar.
        manifest: changes the manifest; hashes of stores and tar are made again after it.
    """
    with Archive.open(good) as archive:
        packed = b"".join(archive.packed())
        value = json.loads(json.dumps(archive.manifest.value))
        entries = archive.manifest.entries
    plain = zstandard.ZstdDecompressor().decompress(packed)
    if tar is not None:
        plain = tar(entries, plain)
    value["tar"]["sha256"] = hashlib.sha256(plain).hexdigest()
    if manifest is not None:
        manifest(value)
    return write_forged(target, plain, value)


def write_forged(target: Path, plain: bytes, value: dict[str, Any], behind: bytes = b"") -> Path:
    """Pack any tar and any manifest as the format says."""
    packed = zstandard.ZstdCompressor(level=1, write_checksum=True).compress(plain) + behind
    said = canonical_json(value)
    digests = hashlib.sha256(packed).digest() + hashlib.sha256(said).digest()
    trailer = struct.pack("<8sQQ", b"PPBACKUP", len(packed), len(said)) + digests
    frames = struct.pack("<II", 0x184D2A50, len(said)) + said
    frames += struct.pack("<II", 0x184D2A51, len(trailer)) + trailer
    target.write_bytes(packed + frames)
    return target


def digest_of(value: dict[str, Any]) -> str:
    """The digest of a store's entries, as a manifest lists them."""
    listed = [*value["folders"], *value["files"]]
    listed.sort(key=lambda item: [part.encode() for part in item["path"].split("/")])
    return sha256_json(listed)


def whole_tar(entries: Sequence[Entry], contents: dict[str, bytes]) -> bytes:
    """A tar of these entries with these contents."""
    parts = []
    for entry in entries:
        content = contents.get(entry.path, b"")
        parts += [header(entry), content, padding(len(content))]
    return b"".join([*parts, END])
