"""Read the journals of a run again: columns of numbers, so that 48 hours stay small."""

from __future__ import annotations

import json
import re
import zlib
from array import array
from collections import Counter
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from traffic.record import CHECK, FORMAT, RECORD, RECORD_BYTES, PieceHeader, errors_name
from traffic.sample import Outcome, Sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_NAME = re.compile(r"samples-(\d{4})\.bin")
_HEADER_LIMIT_BYTES = 1 << 20
_BLOCK_RECORDS = 8192
# In the order of the record.
_COLUMNS = (
    "profile",
    "step",
    "outcome",
    "sequence",
    "status",
    "intended_seconds",
    "sent_seconds",
    "first_byte_seconds",
    "first_token_seconds",
    "done_seconds",
)


class Piece:
    """One piece: its header and its samples as columns.

    `cut_bytes` is what a killed harness left of a record: it was never acknowledged.
    """

    def __init__(self, header: PieceHeader) -> None:
        """Start with no samples."""
        self.header, self.cut_bytes = header, 0
        self.profile, self.status = array("H"), array("H")
        self.step, self.outcome, self.sequence = array("B"), array("B"), array("I")
        self.intended_seconds, self.sent_seconds = array("d"), array("d")
        self.first_byte_seconds, self.first_token_seconds = array("d"), array("d")
        self.done_seconds = array("d")

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.profile)

    def sample(self, index: int) -> Sample:
        """One sample."""
        return Sample(
            profile=self.profile[index],
            step=self.step[index],
            sequence=self.sequence[index],
            intended_seconds=self.intended_seconds[index],
            sent_seconds=self.sent_seconds[index],
            first_byte_seconds=self.first_byte_seconds[index],
            first_token_seconds=self.first_token_seconds[index],
            done_seconds=self.done_seconds[index],
            outcome=Outcome(self.outcome[index]),
            status=self.status[index],
        )

    def samples(self) -> Iterator[Sample]:
        """Every sample, in the order in which they ended."""
        return map(self.sample, range(len(self)))


def read_pieces(folder: Path) -> list[Piece]:
    """Every piece of a run, in order; an empty folder has none.

    Raises:
        ScriptError: a piece is missing or damaged; a torn last record is cut instead.
    """
    found = [(name[1], path) for path in folder.iterdir() if (name := _NAME.fullmatch(path.name))]
    pieces = [read_piece(path) for _, path in sorted(found)]
    for number, piece in enumerate(pieces, 1):
        if piece.header.piece != number:
            raise ScriptError(f"{folder}: expected piece {number}, got piece {piece.header.piece}")
        if piece.header.run_id != pieces[0].header.run_id:
            raise ScriptError(
                f"{folder}: expected a piece of the run {pieces[0].header.run_id}, "
                f"got one of {piece.header.run_id}"
            )
    return pieces


def read_piece(path: Path) -> Piece:
    """One piece.

    Raises:
        ScriptError: no header, or a damaged record that is not the torn last one.
    """
    try:
        with path.open("rb") as file:
            line = file.readline(_HEADER_LIMIT_BYTES)
            piece = Piece(_header(line, path))
            piece.cut_bytes = _take(piece, file, zlib.crc32(line), path)
            return piece
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise ScriptError(f"can't read {path}: {reason}") from problem


def _header(line: bytes, path: Path) -> PieceHeader:
    try:
        value = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        value = None
    known = {item.name for item in fields(PieceHeader)}
    if not isinstance(value, dict) or set(value) != known or value["format"] != FORMAT:
        raise ScriptError(f"{path}: expected the header of a journal of format {FORMAT}, got none")
    return PieceHeader(**value)


def _take(piece: Piece, file: BinaryIO, seed: int, path: Path) -> int:
    """Read every record into the columns; returns how many bytes at the end are torn."""
    columns = [getattr(piece, name) for name in _COLUMNS]
    torn_bytes = 0
    while block := file.read(RECORD_BYTES * _BLOCK_RECORDS):
        for at in range(0, len(block), RECORD_BYTES):
            record = block[at : at + RECORD_BYTES]
            if not _is_whole(record, seed):
                torn_bytes += len(record)
                continue
            if torn_bytes:
                raise ScriptError(
                    f"{path}: record {len(piece) + 1} is damaged, though whole ones follow: "
                    "it can't be counted as evidence"
                )
            for column, value in zip(columns, RECORD.unpack_from(record), strict=True):
                column.append(value)
    return torn_bytes


def _is_whole(record: bytes, seed: int) -> bool:
    if len(record) != RECORD_BYTES:
        return False
    (wanted,) = CHECK.unpack_from(record, RECORD.size)
    return bool(zlib.crc32(record[: RECORD.size], seed) == wanted)


def error_counts(pieces: list[Piece]) -> Counter[tuple[str, str, int]]:
    """How many errors of each kind: profile, outcome, HTTP status (0 without an answer)."""
    counts: Counter[tuple[str, str, int]] = Counter()
    for piece in pieces:
        names = [profile["name"] for profile in piece.header.profiles]
        for profile, outcome, status in zip(
            piece.profile, piece.outcome, piece.status, strict=True
        ):
            if outcome != Outcome.OK:
                counts[names[profile], Outcome(outcome).name.lower(), status] += 1
    return counts


def read_errors(folder: Path, piece: int, limit: int = 10_000) -> list[dict[str, Any]]:
    """The texts of a piece's first errors; a torn last line is left out."""
    found: list[dict[str, Any]] = []
    with (folder / errors_name(piece)).open("rb") as file:
        for line in file:
            if not line.endswith(b"\n") or len(found) >= limit:
                break
            found.append(json.loads(line))
    return found
