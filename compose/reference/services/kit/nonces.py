"""The nonces of accepted tokens, on disk: none is accepted twice, also after a kill (G3a).

One SQLite file a service and boot, shared by all processes of the service. Nothing waits
for the disk: what a killed process wrote is with the kernel, and what a power failure
takes is never asked for, because the next boot begins a file of its own, which refuses
every token that an earlier file may have accepted. So does the next file after one that
somebody removed.
"""

from __future__ import annotations

import math
import os
import sqlite3
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from services.kit.beginnings import Beginning
from services.kit.locks import exclusive
from services.kit.settings import LEEWAY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Outcome = Literal["new", "spent", "too old"]

# Far above what six services send in an hour.
LIMIT = 200_000
# Expired ones are kept as long, while there is room: a clock that is set back by no more
# than this brings no token's time again before its nonce is forgotten.
KEPT_SECONDS = 3600.0
PRUNE_SECONDS = 5.0
BUSY_SECONDS = 1.0
# Files of other boots go after so long; where a boot has no id they may be a neighbour's.
OLDER_SECONDS = 86_400.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TABLE = "nonces (nonce BLOB PRIMARY KEY, by_clock REAL, by_ticks REAL) WITHOUT ROWID"
_BEGAN = "began (only INTEGER PRIMARY KEY CHECK (only = 1), earliest REAL, ahead REAL)"
_SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS {_TABLE}",
    "CREATE INDEX IF NOT EXISTS nonces_by_ticks ON nonces (by_ticks)",
    f"CREATE TABLE IF NOT EXISTS {_BEGAN}",
)
_NO_FILE = (0, 0)
_ADD = "INSERT INTO nonces VALUES (?, ?, ?)"
_FORGET = "DELETE FROM nonces WHERE by_ticks < ? AND by_clock < ?"


class NonceStoreError(Exception):
    """The store can't be used now: nothing may be accepted."""


class NonceStore:
    """Remembers what was spent, until its time has passed by the clock and by the ticks.

    The clock alone would forget too early after a step forward and back; the ticks, which
    never go back, alone would when the clock is set back and a token's time comes again.
    """

    def __init__(
        self,
        folder: Path,
        service: str,
        *,
        leeway_seconds: float = LEEWAY_SECONDS,
        limit: int = LIMIT,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        boot: str | None = None,
    ) -> None:
        """Open or make the store; `boot` names the file, by default the system's boot id.

        `leeway_seconds` is how far in the future a token may be that is accepted, and
        `ticks` count since the boot, where that has an id.

        Raises:
            NonceStoreError: the folder can't be written.
        """
        known = _boot_id() if boot is None else boot
        boot_id = known or str(uuid.uuid4())
        self._has_boot_id = known is not None
        self._path = folder / f"{service}-{boot_id}.db"
        self._older = f"{service}-????????-????-????-????-????????????.*"
        self._begun = self._path.with_suffix(".begun")
        self._leeway_seconds = leeway_seconds
        self._limit, self._clock, self._ticks = limit, clock, ticks
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file = _NO_FILE
        self._began = Beginning(0.0, 0.0)
        self._count = 0
        self._pruned = 0.0
        with self._lock:
            self._use(lambda _connection: None)

    def spend(self, nonce: bytes, issued: float, seconds: float) -> Outcome:
        """Remember for `seconds` and more a nonce that was issued at a time of the clock.

        Returns:
            "spent" where it was remembered; "too old" where an earlier file may have
            accepted it, so that nobody knows whether it was spent.

        Raises:
            NonceStoreError: the store is full, or can't be read and written.
        """
        with self._lock:
            return self._use(lambda connection: self._spend(connection, nonce, issued, seconds))

    def check(self) -> None:
        """Write to the file and change nothing.

        Raises:
            NonceStoreError: that doesn't work, or no token of now would be accepted yet.
        """
        with self._lock:
            self._use(lambda connection: connection.execute("UPDATE began SET only = only"))
            now = self._clock()
            wait_seconds = self._began.limit(now, self._ticks()) - now
        if wait_seconds > 0:
            raise NonceStoreError(f"begun anew: tokens are accepted in {wait_seconds:.1f} s")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._drop()

    def _spend(
        self, connection: sqlite3.Connection, nonce: bytes, issued: float, seconds: float
    ) -> Outcome:
        ticks, now = self._ticks(), self._clock()
        if issued < self._began.limit(now, ticks):
            return "too old"
        self._make_room(connection, ticks, now)
        try:
            connection.execute(_ADD, (nonce, now + seconds, ticks + seconds))
        except sqlite3.IntegrityError:
            return "spent"
        self._count += 1
        return "new"

    def _idle_seconds(self) -> float:
        """For how long no file of this service can have accepted a token."""
        if self._file != _NO_FILE or self._begun.exists():
            return 0.0
        if self._has_boot_id:
            return self._ticks()
        others = {path.stem for path in self._path.parent.glob(self._older)} - {self._path.stem}
        return 0.0 if others else math.inf

    def _make_room(self, connection: sqlite3.Connection, ticks: float, now: float) -> None:
        if ticks - self._pruned < PRUNE_SECONDS and self._count < self._limit:
            return
        self._pruned = ticks
        self._forget(connection, ticks - KEPT_SECONDS, now - KEPT_SECONDS)
        if self._count >= self._limit:
            self._forget(connection, ticks, now)
        if self._count >= self._limit:
            raise NonceStoreError("full: too many tokens at once to remember them all")

    def _forget(self, connection: sqlite3.Connection, ticks: float, now: float) -> None:
        connection.execute(_FORGET, (ticks, now))
        (self._count,) = connection.execute("SELECT count(*) FROM nonces").fetchone()

    def _use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` on the file that is there now; a connection that failed is not kept."""
        try:
            if self._connection is None or _identity(self._path) != self._file:
                self._drop()
                self._open()
            assert self._connection is not None  # noqa: S101 - _open has made it
            return work(self._connection)
        except (sqlite3.Error, OSError) as problem:
            self._drop()
            raise NonceStoreError(f"can't use {self._path}: {problem}") from problem

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with exclusive(self._path.with_suffix(".lock")):
            if not self._path.exists():
                # The log of a file that was removed would bring back a part of it.
                for end in ("-wal", "-shm"):
                    self._path.with_name(f"{self._path.name}{end}").unlink(missing_ok=True)
            self._connection = self._connected()
            self._begun.touch(mode=0o600)
        self._file = _identity(self._path)
        self._remove_older()

    def _connected(self) -> sqlite3.Connection:
        # SQLite gives the files that it puts beside this one the same mode.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(
            self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            self._begin_file(connection)
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _begin_file(self, connection: sqlite3.Connection) -> None:
        # Nothing is lost with the process, and nothing is needed after a power failure.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        now = Beginning.at(self._clock(), self._ticks(), self._idle_seconds(), self._leeway_seconds)
        connection.execute(
            "INSERT OR IGNORE INTO began VALUES (1, ?, ?)", (now.earliest, now.ahead)
        )
        found = connection.execute("SELECT earliest, ahead FROM began").fetchone()
        self._began = Beginning(*found)
        (self._count,) = connection.execute("SELECT count(*) FROM nonces").fetchone()
        connection.execute("COMMIT")

    def _remove_older(self) -> None:
        """What former boots left: no token that it knows is accepted any more."""
        for path in self._path.parent.glob(self._older):
            with suppress(OSError):
                age_seconds = time.time() - path.stat().st_mtime
                if age_seconds > OLDER_SECONDS and not path.name.startswith(self._path.stem):
                    path.unlink()

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None


def _boot_id() -> str | None:
    """What names this boot; without one the store lasts as long as the process."""
    try:
        return str(uuid.UUID(_BOOT_ID.read_text("ascii").strip()))
    except (OSError, ValueError):
        return None


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return _NO_FILE
    return status.st_dev, status.st_ino
