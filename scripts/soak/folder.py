"""The folder of a soak: survives kill -9 at any moment, and says how to go on.

`<output-dir>/soaks/<run id>/` holds soak.json (what is soaked), pieces/ (what each run of
the harness observed, renewed every few seconds), minutes/, and the journals of the
requests (traffic/journal.py). It is copied into the sealed bundle, and removed after that
unless it can be resumed.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError, ScriptError
from common.documents import parse_json
from common.schema import check_value
from soak.clock import Moment
from soak.header import Header
from soak.spans import Piece

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from filelock import FileLock

HEADER, LOCK, ENDED, TYPED = "soak.json", "soak.lock", "ended.json", "typed.json"
# What is of this machine only: a lock, marks, and a command with whole paths.
NO_EVIDENCE = {LOCK, ENDED, TYPED}
COMPLETED, INTERRUPTED, STOPPED = "completed", "interrupted", "stopped"
SCHEMA = "soak_header/1"


def pieces_at(path: Path) -> list[Piece]:
    """The pieces of a soak's folder, also of one that another process has.

    Raises:
        ScriptError: a file of a piece is broken.
    """
    return [_piece(file) for file in sorted((path / "pieces").glob("piece-*.json"))]


class SoakFolder:
    """One soak on disk; `create` or `resume` it, and `close` it."""

    def __init__(self, path: Path, header: Header, start: Moment) -> None:
        """See the class."""
        self.path, self.header, self.start = path, header, start
        self._lock = lock_of(path)

    @classmethod
    def create(
        cls, output_dir: Path, header: Header, start: Moment, typed: Sequence[str] = ()
    ) -> SoakFolder:
        """A new folder for this soak; `typed` is the command that began it.

        Raises:
            ScriptError: the folder can't be written.
        """
        path = soaks(output_dir) / header.run_id
        try:
            for name in ("pieces", "minutes"):
                (path / name).mkdir(parents=True)
            value = {"schema": SCHEMA, "start": asdict(start), **asdict(header)}
            write_durably(path / TYPED, {"command": [*typed]})
            write_durably(path / HEADER, value)
        except OSError as problem:
            raise ScriptError(
                f"can't write {path}: {problem.strerror}: give another --output-dir"
            ) from problem
        return cls(path, header, start)

    @classmethod
    def resume(cls, output_dir: Path, run_id: str, wanted: Header) -> SoakFolder:
        """The folder of an interrupted soak.

        Raises:
            ConfigurationError: there is none, it is in use, or it soaked something else.
        """
        header = begun_header(output_dir, run_id)
        header.require_same(wanted)
        path = soaks(output_dir) / run_id
        return cls(path, header, _moment(_read(path / HEADER).get("start"), path))

    @property
    def minutes(self) -> list[Path]:
        """The minute files, in order."""
        return sorted((self.path / "minutes").glob("minute-*.json"))

    def pieces(self) -> list[Piece]:
        """What was observed so far, piece by piece.

        Raises:
            ScriptError: a file of a piece is broken.
        """
        return pieces_at(self.path)

    def remaining_seconds(self) -> float:
        """What is left to observe of what was asked for."""
        from soak.spans import observed_seconds

        return max(0.0, self.header.seconds - observed_seconds(self.pieces()))

    def write_piece(self, piece: Piece) -> None:
        """Renew the file of a piece: what it says is what would be known after a crash."""
        value = {**asdict(piece), "sleeps": [list(sleep) for sleep in piece.sleeps]}
        write_durably(self.path / "pieces" / f"piece-{piece.number:03}.json", value)

    def settle(self, last_seconds: Mapping[int, float]) -> None:
        """A piece that was killed was observed until its last sample, by piece number."""
        for piece in self.pieces():
            last = last_seconds.get(piece.number, 0.0)
            if piece.ended is None and last > piece.end_seconds:
                self.write_piece(replace(piece, end_seconds=last))

    def write_minute(self, number: int, value: Mapping[str, Any]) -> None:
        """Write a minute file, whole or not at all."""
        check_value(value, "soak_minute", f"minute {number}")
        write_durably(self.path / "minutes" / f"minute-{number:05}.json", value)

    def files(self) -> list[tuple[str, Path]]:
        """Every file that belongs into evidence, with its name there."""
        found = (path for path in sorted(self.path.rglob("*")) if path.is_file())
        names = ((path.relative_to(self.path).as_posix(), path) for path in found)
        return [
            (name, path)
            for name, path in names
            if name not in NO_EVIDENCE and ".partial" not in name
        ]

    def mark_ended(self, bundle: str) -> None:
        """It is over: once that bundle is sealed, the folder may go (`remove_ended`)."""
        write_durably(self.path / ENDED, {"bundle": bundle})

    def close(self) -> None:
        """Let others have the folder."""
        self._lock.release()

    def discard(self) -> None:
        """Remove it: nothing was observed."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):  # others are still in it
            self.path.parent.rmdir()


def soaks(output_dir: Path) -> Path:
    """Where soaks are kept while they run."""
    return output_dir / "soaks"


def begun_command(path: Path) -> list[str]:
    """The command that a soak was begun with, as it was given; empty where nobody wrote it."""
    known = (path / TYPED).exists()
    return [str(word) for word in _read(path / TYPED)["command"]] if known else []


def begun_header(output_dir: Path, run_id: str) -> Header:
    """What an interrupted soak was begun with.

    Raises:
        ConfigurationError: there is no such soak, or something has failed in it.
    """
    path = soaks(output_dir) / run_id
    if run_id not in resumable(output_dir):
        there = ", ".join(resumable(output_dir)) or "none"
        raise ConfigurationError(
            f"--resume {run_id}: expected an interrupted soak in {soaks(output_dir)} "
            f"(there: {there}), got none of that name"
        )
    if any(_piece(item).ended == STOPPED for item in (path / "pieces").glob("piece-*.json")):
        raise ConfigurationError(
            f"--resume {run_id}: it was stopped because something failed: start a new soak"
        )
    return _header(_read(path / HEADER), path)


def remove_ended(output_dir: Path) -> None:
    """Remove soaks that are over and whose evidence is sealed."""
    for path in soaks(output_dir).glob(f"*/{ENDED}"):
        bundle = str(_read(path).get("bundle", ""))
        if bundle and (output_dir / bundle).is_dir():
            shutil.rmtree(path.parent, ignore_errors=True)
    with suppress(OSError):  # others are still in it
        soaks(output_dir).rmdir()


def resumable(output_dir: Path) -> list[str]:
    """The run ids of soaks that did not end."""
    found = (path.parent for path in soaks(output_dir).glob(f"*/{HEADER}"))
    return sorted(path.name for path in found if not (path / ENDED).exists())


def write_durably(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON so that a reader, also after a power cut, sees the old file or the new one."""
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(text + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def lock_of(path: Path) -> FileLock:
    """Take a soak's lock.

    Raises:
        ConfigurationError: another process has it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigurationError(
            f"the soak {path.name} is in use by another process: wait for its end"
        ) from None
    return lock


def _read(path: Path) -> dict[str, Any]:
    value = parse_json(path.read_bytes(), str(path))
    if not isinstance(value, dict):
        raise ScriptError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _broken(path: Path, problem: Exception) -> ScriptError:
    return ScriptError(f"{path} is no file of a soak: {problem}: start a new one")


def _moment(value: Any, path: Path) -> Moment:  # noqa: ANN401 - the JSON edge
    try:
        return Moment(**value)
    except TypeError as problem:
        raise _broken(path, problem) from problem


def _header(value: dict[str, Any], path: Path) -> Header:
    try:
        del value["schema"], value["start"]
        return Header(**value)
    except (KeyError, TypeError) as problem:
        raise _broken(path, problem) from problem


def _piece(path: Path) -> Piece:
    value = _read(path)
    try:
        sleeps = tuple((float(begin), float(end)) for begin, end in value.pop("sleeps"))
        return Piece(**value, sleeps=sleeps)
    except (KeyError, TypeError, ValueError) as problem:
        raise _broken(path, problem) from problem
