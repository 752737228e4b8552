"""The form of a journal: its header line, its records of fixed size, its file names."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from traffic.sample import Sample

FORMAT = 1
# Profile, step, outcome, sequence, status; intended, sent, first byte, first token, done.
RECORD = struct.Struct("<HBBIH5d")
CHECK = struct.Struct("<I")
RECORD_BYTES = RECORD.size + CHECK.size
# An answer outside of this has no status that HTTP knows; the record has two bytes for it.
_STATUS_LIMIT = 0xFFFF


@dataclass(frozen=True)
class PieceHeader:
    """What a piece says of itself, before its first sample.

    Args:
        run_id: the run that it is a piece of.
        piece: number, from 1.
        boot_id: `clock.boot_id()`.
        boottime_seconds: the clock when the piece began.
        start_seconds: the clock reading that is second 0 of its samples.
        time_utc: wall time when the piece began (RFC 3339).
        profiles: `Profile.as_json()` of each, in order.
        services: identity of each service, as its runtime sees it.
        more: whatever else the run wants to find again.
    """

    run_id: str
    piece: int
    boot_id: str
    boottime_seconds: float
    start_seconds: float
    time_utc: str
    profiles: list[dict[str, Any]]
    services: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def line(self) -> bytes:
        """The header line; its CRC goes into that of every record."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False).encode() + b"\n"


def pack(sample: Sample, seed: int) -> bytes:
    """A record: the sample and a CRC that only fits in the file whose header gave the seed.

    An impossible status is written as the next one that can be: the answer was WRONG
    anyway, and what a system answers must not end the run.
    """
    record = RECORD.pack(
        sample.profile,
        sample.step,
        sample.outcome,
        sample.sequence,
        min(max(sample.status, 0), _STATUS_LIMIT),
        sample.intended_seconds,
        sample.sent_seconds,
        sample.first_byte_seconds,
        sample.first_token_seconds,
        sample.done_seconds,
    )
    return record + CHECK.pack(zlib.crc32(record, seed))


def samples_name(piece: int) -> str:
    """The file name of a piece's samples."""
    return f"samples-{piece:04d}.bin"


def errors_name(piece: int) -> str:
    """The file name of a piece's error texts."""
    return f"errors-{piece:04d}.jsonl"
