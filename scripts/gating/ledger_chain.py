"""The ledger's chain: entries, signed heads, and what a killed writer may leave of them; no I/O.

A writer signs first and appends then: `ledger.pending.json` holds the next line whole,
with the signed head that it leads to. Whatever it is killed at, the next one finishes
that line. So every line on the disk is one that the key's owner has signed, and a line
that is neither signed nor the beginning of the pending one is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError
from common.documents import parse_json
from evidence.files import shown
from evidence.trace import FIRST_PREV
from gating.ledger_head import Head, LedgerError, check_signature, parse_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from evidence.public_key import PublicKey

FIXED = ("seq", "prev", "time_utc", "entry")


@dataclass(frozen=True)
class Entry:
    """One line of the ledger.

    Args:
        fields: what it says, without the chain's own names.
        sha256: of its line with the newline; the head, as long as it is the last.
    """

    seq: int
    time_utc: str
    entry: str
    fields: Mapping[str, Any]
    sha256: str


@dataclass(frozen=True)
class Files:
    """The bytes of a ledger's files; None where there is no file."""

    lines: bytes | None = None
    head: bytes | None = None
    pending: bytes | None = None


@dataclass(frozen=True)
class State:
    """What a ledger says, and what its next writer has to finish.

    Args:
        head: the newest signed head; None of an empty ledger.
        missing: what is still to be appended to `ledger.jsonl`.
        finished: no writer was killed: there is nothing to write.
    """

    entries: tuple[Entry, ...] = ()
    head: Head | None = None
    missing: bytes = b""
    finished: bool = True


def read_state(files: Files, key: PublicKey | None, name: str = "ledger") -> State:
    """The ledger that these files are, finished where a writer was killed.

    Args:
        files: as they stand on the disk.
        key: the key that signed it; None leaves the signatures unchecked.
        name: the file names without their ends, for messages.

    Raises:
        LedgerError: edited, reordered, cut or extended, without its head, or of another key.
    """
    head, pending, line = _heads(files, key, name)
    if head is None and pending is None:
        if files.lines is not None:
            raise LedgerError(f"expected {name}.head.json beside {name}.jsonl, got no file")
        return State()
    if files.lines is None and head is not None:
        raise LedgerError(
            f"expected {name}.jsonl with {head.seq} entries, got no file: "
            f"bring it back, {name}.head.json is of a ledger that was written"
        )
    whole, missing = files.lines or b"", b""
    count = head.seq if head else 0
    if pending is not None and pending.seq == count + 1:
        missing = _missing(whole, count, line, name)
        whole += missing
    newest = pending or head
    assert newest is not None  # noqa: S101 - both None returned above
    entries = check_lines(whole, newest.seq, newest.sha256, f"{name}.jsonl")
    # The pending line is chained to the line before, which the head is the hash of.
    if head is not None and entries[head.seq - 1].sha256 != head.sha256:
        before = entries[head.seq - 1].sha256
        raise LedgerError(f"{name}.head.json: expected the head {before}, got {head.sha256}")
    return State(entries, newest, missing, finished=pending is None)


def _heads(
    files: Files, key: PublicKey | None, name: str
) -> tuple[Head | None, Head | None, bytes]:
    """The head, the pending head, and the pending line; each signature checked."""
    head = pending = None
    line = b""
    if files.head is not None:
        head, _ = parse_head(files.head, f"{name}.head.json")
    if files.pending is not None:
        pending, value = parse_head(files.pending, f"{name}.pending.json", ("line",))
        line = value["line"].encode("utf-8", "surrogatepass")
    for found, end in ((head, "head"), (pending, "pending")):
        if found is not None and key is not None:
            check_signature(found, key, f"{name}.{end}.json")
    count = head.seq if head else 0
    if pending is not None and pending.seq not in {count, count + 1}:
        raise LedgerError(
            f"{name}.pending.json: expected seq {count + 1}, the one after the head, "
            f"got {pending.seq}: one of the two files is older than the other"
        )
    if head and pending and pending.seq == head.seq and pending.sha256 != head.sha256:
        raise LedgerError(
            f"{name}.pending.json: expected the head {head.sha256}, got {pending.sha256}: "
            "two lines were signed for one place"
        )
    return head, pending, line


def _missing(whole: bytes, count: int, line: bytes, name: str) -> bytes:
    """What of the pending line is not yet in the file."""
    end = 0
    for number in range(1, count + 1):
        end = whole.find(b"\n", end) + 1
        if end == 0:
            raise LedgerError(f"{name}.jsonl: expected {count} entries, got {number - 1}")
    tail = whole[end:]
    if not line.startswith(tail):
        raise LedgerError(
            f"{name}.jsonl: line {count + 1}: expected a beginning of the pending line, "
            f"got {shown(tail[:80])}: somebody else wrote it"
        )
    return line[len(tail) :]


def check_lines(data: bytes, count: int, head: str, name: str) -> tuple[Entry, ...]:
    """Hold a ledger's lines against its head.

    Raises:
        LedgerError: with the line, expected and got.
    """
    lines = data.split(b"\n")
    if lines.pop() != b"":
        raise LedgerError(f"{name}: expected a final newline, got a line that was cut")
    previous, entries = FIRST_PREV, []
    for number, line in enumerate(lines, 1):
        entry = _entry(line, number, previous, name)
        entries.append(entry)
        previous = entry.sha256
    if len(entries) != count:
        raise LedgerError(f"{name}: expected {count} entries, got {len(entries)}")
    if previous != head:
        raise LedgerError(f"{name}: expected the head {head}, got {previous}: a line was changed")
    return tuple(entries)


def _entry(line: bytes, number: int, previous: str, name: str) -> Entry:
    where = f"{name}: line {number}"
    try:
        record = parse_json(line, where)
    except ConfigurationError as problem:
        raise LedgerError(f"{problem}: expected an entry, got an edited line") from None
    if not isinstance(record, dict) or not set(FIXED) <= set(record):
        raise LedgerError(f"{where}: expected an entry with {', '.join(FIXED)}")
    if type(record["seq"]) is not int or record["seq"] != number:
        raise LedgerError(f"{where}: expected seq {number}, got {shown(record['seq'])}")
    if record["prev"] != previous:
        raise LedgerError(
            f"{where}: expected prev {previous}, got {shown(record['prev'])}: "
            "the line before was changed, moved or removed"
        )
    if type(record["time_utc"]) is not str or type(record["entry"]) is not str:
        raise LedgerError(f"{where}: expected texts as time_utc and entry, got others")
    fields = {key: value for key, value in record.items() if key not in FIXED}
    sha256 = hashlib.sha256(line + b"\n").hexdigest()
    return Entry(number, record["time_utc"], record["entry"], fields, sha256)
