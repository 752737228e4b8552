"""Crash-safe samples: what is acknowledged is on the disk, whatever ends the process.

A piece (one life of the harness) is `samples-0001.bin`: a header line, then records of
fixed size with a CRC each; and `errors-0001.jsonl`: the texts of its first errors. Both
are only ever appended to; a run that is resumed begins a new piece.
"""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from common.cli import ScriptError
from traffic.record import errors_name, pack, samples_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from traffic.record import PieceHeader
    from traffic.sample import Sample

COMMIT_SECONDS = 1.0
ERROR_TEXTS = 10_000
TEXT_CHARACTERS = 300
_LOOK_SECONDS = 0.2
_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)


class Journal:
    """Writes one piece; `add` never waits for the disk, because a load generator can't.

    Samples are written and synced together, once a second; only then do they count as
    `acknowledged`. A thread of its own writes: SimpleQueue is left whole by a Ctrl-C in
    the middle of `add`, a lock is not.

    Args:
        folder: where the files go; the piece must not be there yet.
        header: what the piece says of itself.
        commit_seconds: how long a sample may wait for its sync.
    """

    def __init__(
        self, folder: Path, header: PieceHeader, commit_seconds: float = COMMIT_SECONDS
    ) -> None:
        """Make both files; from here on the piece exists."""
        self.acknowledged, self.error_texts_left = 0, ERROR_TEXTS
        self._commit_seconds, self._header = commit_seconds, header
        self._seed = zlib.crc32(header.line())
        self._failure: ScriptError | None = None
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._closed = False
        try:
            self._errors, self._samples = _create_both(folder, header)
        except OSError as problem:
            raise _unwritable(problem) from problem
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Use as a context; leaving it commits and closes."""
        return self

    def __exit__(self, *_problem: object) -> None:
        """Commit and close."""
        self.close()

    def add(self, sample: Sample, text: str | None = None) -> None:
        """Take one sample, with the error's text where there is one.

        Raises:
            ScriptError: an earlier sample could not be written, or nobody writes any more.
        """
        self._check()
        self._queue.put((sample, text))

    def commit(self) -> int:
        """Wait until everything added so far is on the disk; how many samples that are.

        Raises:
            ScriptError: it can't be written, or nobody writes any more.
        """
        answer: SimpleQueue[None] = SimpleQueue()
        self._queue.put(answer)
        while not self._failure:
            try:
                answer.get(timeout=_LOOK_SECONDS)
            except Empty:
                self._check()
            else:
                break
        if self._failure:
            raise self._failure
        return self.acknowledged

    def _check(self) -> None:
        if self._failure is None and not self._thread.is_alive():
            self._failure = ScriptError(
                "can't write the journal of samples: expected its thread at work, got none: "
                "begin a new piece"
            )
        if self._failure:
            raise self._failure

    def close(self) -> None:
        """Commit and close both files; a second time does nothing.

        Raises:
            ScriptError: the last samples can't be written.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self.commit()
        finally:
            self._queue.put(None)
            self._thread.join()

    def _work(self) -> None:
        over = False
        try:
            while not over:
                batch, waiting, over = self._batch()
                try:
                    self._write(batch)
                except Exception as problem:  # noqa: BLE001 - raised by add, commit and close
                    # Nothing after a torn record could be read again: never write on.
                    self._failure = self._failure or _unwritable(problem)
                for answer in waiting:
                    answer.put(None)
        finally:
            os.close(self._errors)
            os.close(self._samples)

    def _batch(self) -> tuple[list[_Entry], list[SimpleQueue[None]], bool]:
        """What comes until the commit is due, or somebody waits for it, or all is over."""
        batch: list[_Entry] = []
        item, due = self._queue.get(), time.monotonic() + self._commit_seconds
        while True:
            if item is None:
                return batch, [], True
            if isinstance(item, SimpleQueue):
                return batch, [item], False
            batch.append(item)
            try:
                item = self._queue.get(timeout=max(0.0, due - time.monotonic()))
            except Empty:
                return batch, [], False

    def _write(self, batch: list[_Entry]) -> None:
        if not batch or self._failure:
            return
        lines = b"".join(self._error_line(*entry) for entry in batch)
        if lines:
            _write_all(self._errors, lines)
            _sync(self._errors)
        _write_all(self._samples, b"".join(pack(sample, self._seed) for sample, _ in batch))
        _sync(self._samples)
        self.acknowledged += len(batch)

    def _error_line(self, sample: Sample, text: str | None) -> bytes:
        if text is None or not self.error_texts_left:
            return b""
        self.error_texts_left -= 1
        line = {
            "profile": self._header.profiles[sample.profile]["name"],
            "step": sample.step,
            "sequence": sample.sequence,
            "intended_seconds": round(sample.intended_seconds, 6),
            "outcome": sample.outcome.name.lower(),
            "status": sample.status,
            "text": text[:TEXT_CHARACTERS],
        }
        return json.dumps(line).encode() + b"\n"


_Entry = tuple["Sample", "str | None"]
_Item = _Entry | SimpleQueue[None] | None


def _create_both(folder: Path, header: PieceHeader) -> tuple[int, int]:
    """The file of errors, then that of samples, which makes the piece.

    A kill between the two leaves an empty file of errors and no piece: its number is
    still free, as `read_pieces` says.
    """
    errors, samples = folder / errors_name(header.piece), folder / samples_name(header.piece)
    for path, taken in ((samples, samples.exists()), (errors, _has_content(errors))):
        if taken:
            raise ScriptError(f"expected no {path} yet, got one: a piece is never written twice")
    handle = _create(folder, errors.name, b"")
    try:
        return handle, _create(folder, samples.name, header.line())
    except OSError:
        os.close(handle)
        raise


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _create(folder: Path, name: str, content: bytes) -> int:
    """A file that exists with its first line or not at all; open for appending."""
    partial, final = folder / f".{name}.partial", folder / name
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        _write_all(handle, content)
        os.fsync(handle)
        partial.replace(final)
        sync_folder(folder)
    except OSError:
        os.close(handle)
        raise
    return handle


def sync_folder(folder: Path) -> None:
    """Make new names in a folder survive a loss of power, where the system can."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_all(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _unwritable(problem: Exception) -> ScriptError:
    what = "can't write the journal of samples"
    if not isinstance(problem, OSError):
        return ScriptError(f"{what}: {type(problem).__name__}: {problem}: report this as a bug")
    reason = (problem.strerror or str(problem)).lower()
    return ScriptError(f"{what}: {reason}: give a folder with space")
