"""The ledger: an append-only, hash-chained log with a signed head, safe against kill -9.

Files, all beside each other:
    ledger.jsonl          one entry a line; each has the hash of the line before
    ledger.head.json      how many lines and the hash of the last, signed
    ledger.pending.json   while a line is being appended: the line and its signed head
    ledger.lock           one writer at a time, across processes

Whoever holds the key can write another history from the start, and whoever can write the
folder can put an old copy back: only a head that was remembered elsewhere tells
(`ledger.py verify --head-sha256`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from evidence.files import read_regular
from evidence.redact import Redactor
from evidence.trace import FIRST_PREV
from gating.durable import append, remove, replace
from gating.ledger_chain import FIXED, Entry, Files, State, read_state
from gating.ledger_head import Head, LedgerError, render, render_pending, statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from evidence.keys import SigningKey
    from evidence.public_key import PublicKey

__all__ = ["LEDGER", "Entry", "Head", "Ledger", "LedgerError", "read", "verify"]

LEDGER = "ledger.jsonl"
LIMIT_BYTES = 256 << 20
LINE_LIMIT_BYTES = 1 << 20
LOCK_SECONDS = 30.0
_TRIES, _PAUSE_SECONDS = 100, 0.01


class Ledger:
    """One ledger and the key that signs it; may be used from many processes at once.

    Args:
        path: `ledger.jsonl`; its other files stand beside it.
        key: the key that signs; a ledger has one key from its first entry on.
        redactor: takes secrets out of every field.
    """

    def __init__(self, path: Path, key: SigningKey, redactor: Redactor | None = None) -> None:
        """Nothing is read or made yet."""
        self.path = path
        self._key = key
        self._redactor = redactor or Redactor()

    def entries(self) -> tuple[Entry, ...]:
        """Every entry, verified; none where there is no ledger yet.

        Raises:
            LedgerError: it is not what the key has signed.
        """
        return verify(self.path, self._key.public)

    def append(self, entry: str, **fields: object) -> Entry:
        """Append one entry; when this returns, it is signed and on the disk.

        Raises:
            ConfigurationError: fields that schemas/ledger_entry.schema.json does not allow.
            LedgerError: the ledger is not what the key has signed; nothing is appended.
            ScriptError: it can't be locked or written. The entry may still have been
                signed: then the next append finishes it, as after a kill.
        """
        return self.append_if(lambda _entries: None, entry, **fields)

    def append_if(
        self, allowed: Callable[[tuple[Entry, ...]], object], entry: str, **fields: object
    ) -> Entry:
        """Append unless `allowed` raises on the entries so far; nobody appends in between."""
        with _written(self.path), self._locked():
            state = self._recovered()
            allowed(state.entries)
            line, made = self._line(state, entry, fields)
            head = self._signed(made.seq, made.sha256)
            replace(_beside(self.path, "pending"), render_pending(head, line))
            self._finish(line, head)
        return made

    def _line(self, state: State, entry: str, fields: dict[str, object]) -> tuple[bytes, Entry]:
        """The next line, and the entry that it is."""
        from common.schema import check_value

        if clash := set(fields) & set(FIXED):
            raise ValueError(f"expected a field name of its own, got {min(clash)!r}")
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        prev = state.head.sha256 if state.head else FIRST_PREV
        clean: Any = self._redactor.value(fields)
        seq = len(state.entries) + 1
        start = {"seq": seq, "prev": prev, "time_utc": now, "entry": entry}
        check_value(start | clean, "ledger_entry", f"ledger entry {entry}")
        line = render(start | clean)
        if len(line) > LINE_LIMIT_BYTES:
            raise LedgerError(
                f"expected an entry of at most {LINE_LIMIT_BYTES} bytes, got {len(line)}: "
                "keep long texts in a file and name it"
            )
        return line, Entry(seq, now, entry, clean, hashlib.sha256(line).hexdigest())

    def _signed(self, seq: int, sha256: str) -> Head:
        return Head(seq, sha256, self._key.keyid, self._key.sign(statement(seq, sha256)))

    def _recovered(self) -> State:
        """What is on the disk, after finishing what a killed writer began."""
        state = read(self.path, self._key.public)
        if not state.finished and state.head is not None:
            self._finish(state.missing, state.head)
        return state

    def _finish(self, missing: bytes, head: Head) -> None:
        """The line first, the head after it: a head without its lines would be refused."""
        append(self.path, missing)
        replace(_beside(self.path, "head"), render(head.as_json()))
        remove(_beside(self.path, "pending"))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_suffix(".lock")
        try:
            with FileLock(lock).acquire(timeout=LOCK_SECONDS, poll_interval=_PAUSE_SECONDS):
                yield
        except Timeout as problem:
            raise LedgerError(
                f"{lock} stayed locked for {LOCK_SECONDS:g} s: end the process that holds it"
            ) from problem


def verify(path: Path, public_key: PublicKey) -> tuple[Entry, ...]:
    """Every entry of a ledger that this key has signed; writes nothing, takes no lock.

    A line that a killed writer left pending is among them: it is signed.

    Raises:
        LedgerError: the ledger is not what the key has signed.
    """
    return read(path, public_key).entries


def read(path: Path, public_key: PublicKey | None) -> State:
    """The ledger as it stands; without a key its signatures are not checked.

    Refused is only what stays as it is: a writer in the middle of its work changes the
    files between two looks.

    Raises:
        LedgerError: see `verify`.
    """
    seen: Files | str | None = None
    for _ in range(_TRIES):
        found: Files | str | None = None
        try:
            found = _look(path)
            return read_state(found, public_key, str(path.with_suffix("")))
        except LedgerError as problem:
            found = found or str(problem)
            if found == seen:
                raise
        seen = found
        time.sleep(_PAUSE_SECONDS)
    raise LedgerError(f"{path}: kept changing while it was read: read it again later")


def _look(path: Path) -> Files:
    head, pending = _beside(path, "head"), _beside(path, "pending")
    return Files(
        head=_bytes(head, 2 * LINE_LIMIT_BYTES),
        pending=_bytes(pending, 4 * LINE_LIMIT_BYTES),
        lines=_bytes(path, LIMIT_BYTES),
    )


def _bytes(path: Path, limit_bytes: int) -> bytes | None:
    try:
        return read_regular(path, limit_bytes)
    except ScriptError as problem:
        if not os.path.lexists(path):
            return None
        raise LedgerError(f"{path}: {problem}") from problem


def _beside(path: Path, end: str) -> Path:
    return path.with_name(f"{path.stem}.{end}.json")


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise LedgerError(
            f"can't write the ledger {path}: {reason}: give a folder with space and rights"
        ) from problem
