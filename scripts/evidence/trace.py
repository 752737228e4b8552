"""The trace of a run: `trace.jsonl`, a hash chain of events, and `e2e_trace.log` for people."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from common.documents import parse_json
from evidence.files import ArtifactError, read_regular, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Self, TextIO

    from evidence.redact import Redactor
    from evidence.run_folder import RunFolder

    _Job = tuple[Callable[[], None], SimpleQueue[BaseException | None]]

TRACE = "trace.jsonl"
READABLE_TRACE = "e2e_trace.log"
FIRST_PREV = "0" * 64
TRACE_LIMIT_BYTES = 4 << 30
_FIXED = ("seq", "prev", "time_utc", "elapsed_seconds", "event")


class TraceError(ScriptError):
    """A trace that is not the chain that the summary names."""


class Trace:
    """Appends events to the two trace files of a run folder; safe to use from any thread.

    Args:
        folder: the run folder that it belongs to.
        redactor: takes secrets out of every field; the folder's own by default.
    """

    def __init__(self, folder: RunFolder, redactor: Redactor | None = None) -> None:
        """Open both files; they must not exist yet."""
        self._redactor = redactor or folder.redactor
        self._start = time.monotonic()
        self._chain = _open(folder.evidence / TRACE)
        self._readable = _open(folder.evidence / READABLE_TRACE)
        self.head = FIRST_PREV
        self.count = 0
        # Ctrl-C is raised in the main thread, at any line of it: a thread of its own
        # writes the line and moves the head, so that nothing comes in between. Only
        # SimpleQueue is left whole by an exception in its middle; locks are not.
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        threading.Thread(target=self._work, name="trace", daemon=True).start()
        folder.closes(self.close)

    def __enter__(self) -> Self:
        """Use as a context; leaving it closes the files."""
        return self

    def __exit__(self, *_problem: object) -> None:
        """Close both files."""
        self.close()

    def add(self, event: str, **fields: object) -> None:
        """Record one event; what it says is on its way to the disk when this returns.

        Raises:
            ArtifactError: the trace can't be written, or is closed.
            ValueError: a field has one of the chain's own names.
        """
        clash = set(fields) & set(_FIXED)
        if clash:
            raise ValueError(f"expected a field name of its own, got {min(clash)!r}")
        self._in_writer(lambda: self._append(event, fields))

    def _in_writer(self, action: Callable[[], None]) -> None:
        answer: SimpleQueue[BaseException | None] = SimpleQueue()
        self._jobs.put((action, answer))
        problem = answer.get()
        if problem:
            raise problem

    def _work(self) -> None:
        while True:
            action, answer = self._jobs.get()
            try:
                action()
            except BaseException as problem:  # noqa: BLE001 - whoever waits raises it
                answer.put(problem)
            else:
                answer.put(None)

    def _append(self, event: str, fields: Mapping[str, object]) -> None:
        elapsed = round(time.monotonic() - self._start, 6)
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        clean = self._redactor.value({"event": event, **fields})
        record = {"seq": self.count + 1, "prev": self.head, "time_utc": now}
        record |= {"elapsed_seconds": elapsed} | _as_dict(clean)
        line = json.dumps(record, default=str, allow_nan=False) + "\n"
        self._write(line, readable_line(record))
        self.head = hashlib.sha256(line.encode()).hexdigest()
        self.count += 1

    def _write(self, line: str, readable: str) -> None:
        try:
            self._chain.write(line)
            self._chain.flush()
            self._readable.write(readable)
            self._readable.flush()
        except (OSError, ValueError) as problem:
            raise _unwritable("the trace", problem) from problem

    def close(self) -> None:
        """Close both files; head and count stay.

        Raises:
            ArtifactError: what was still to be written could not be.
        """
        self._in_writer(self._close)

    def _close(self) -> None:
        try:
            try:
                self._chain.close()
            finally:
                self._readable.close()
        except OSError as problem:
            raise _unwritable("the trace", problem) from problem


def _open(path: Path) -> TextIO:
    try:
        return path.open("x", encoding="utf-8", newline="\n")
    except OSError as problem:
        raise _unwritable(str(path), problem) from problem


def _unwritable(what: str, problem: OSError | ValueError) -> ArtifactError:
    reason = getattr(problem, "strerror", None) or str(problem)
    return ArtifactError(f"can't write {what}: {reason.lower()}: give a folder with space")


def _as_dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def readable_line(record: dict[str, Any]) -> str:
    """One line of `e2e_trace.log`: time, elapsed seconds, event, `name=value` fields."""
    fields = " ".join(
        f"{name}={json.dumps(value, default=str)}"
        for name, value in record.items()
        if name not in _FIXED
    )
    event = str(record["event"]).replace("\r", " ").replace("\n", " ")
    return (
        f"{record['time_utc']} {record['elapsed_seconds']:11.3f}s  {event}  {fields}".rstrip()
        + "\n"
    )


def check_trace(path: Path, head: str, count: int) -> None:
    """Hold a trace against the head and count in the signed summary.

    Raises:
        TraceError: missing, empty, edited, reordered, cut, or longer than it was.
    """
    try:
        data = read_regular(path, TRACE_LIMIT_BYTES)
    except ScriptError as problem:
        raise TraceError(f"{problem}") from problem
    check_trace_bytes(data, head, count)


def check_trace_bytes(data: bytes, head: str, count: int) -> None:
    """`check_trace` for bytes in memory.

    Raises:
        TraceError: what was expected and found, with the line.
    """
    if count < 1:
        raise TraceError(f"expected a trace of at least one event, got the count {shown(count)}")
    lines = data.split(b"\n")
    if lines.pop() != b"":
        raise TraceError("expected a final newline, got a line that was cut")
    previous = FIRST_PREV
    for number, line in enumerate(lines, 1):
        _check_line(line, number, previous)
        previous = hashlib.sha256(line + b"\n").hexdigest()
    if len(lines) != count:
        raise TraceError(f"expected {count} events, got {len(lines)}")
    if previous != head:
        raise TraceError(f"expected the head {shown(head)}, got {previous}")


def _check_line(line: bytes, number: int, previous: str) -> None:
    try:
        record = parse_json(line, f"line {number}")
    except ScriptError as problem:
        raise TraceError(str(problem)) from problem
    if not isinstance(record, dict) or not set(_FIXED) <= set(record):
        raise TraceError(f"line {number}: expected an event with {', '.join(_FIXED)}")
    if type(record["seq"]) is not int or record["seq"] != number:
        raise TraceError(f"line {number}: expected seq {number}, got {shown(record['seq'])}")
    if record["prev"] != previous:
        raise TraceError(
            f"line {number}: expected prev {previous}, got {shown(record['prev'])}: "
            "the line before was changed, moved or removed"
        )
