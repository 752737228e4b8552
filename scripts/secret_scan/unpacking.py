"""Take a stream apart until it is text: compressed, packed, in another encoding, or all of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.streams import buffered
from secret_scan.archives import tar_members, zip_members
from secret_scan.findings import Unread
from secret_scan.judging import Place
from secret_scan.streams import (
    COMPRESSED,
    HEAD_BYTES,
    UNSUPPORTED,
    Budget,
    UnreadableError,
    as_utf8,
    chunks_of,
    decompressed,
    kind_of_bytes,
)

if TYPE_CHECKING:
    from secret_scan.findings import Tally
    from secret_scan.streams import Stream
    from secret_scan.text_scan import TextScanner

DEEPEST = 4
ARCHIVES = frozenset({"tar", "zip"})
_WIDE = ("utf-16", "utf-32")


@dataclass(frozen=True)
class _Job:
    """What stays the same for all that is packed in one file."""

    scanner: TextScanner
    tally: Tally
    budget: Budget


def scan_stream(scanner: TextScanner, stream: Stream, place: Place, tally: Tally) -> None:
    """Scan a stream and all that is packed in it; what can't be read is listed in `tally`."""
    _scan(_Job(scanner, tally, Budget()), stream, place, 0)


def _scan(job: _Job, stream: Stream, place: Place, depth: int) -> None:
    try:
        _scan_kind(job, stream, place, depth)
    except UnreadableError as problem:
        job.tally.unread.append(Unread(place.path, str(problem)))


def _scan_kind(job: _Job, stream: Stream, place: Place, depth: int) -> None:
    kind = kind_of_bytes(stream.peek(HEAD_BYTES)[:HEAD_BYTES])
    if kind in UNSUPPORTED:
        raise UnreadableError(f"{kind} data, which this scanner can't unpack")
    if kind in COMPRESSED | ARCHIVES and depth >= DEEPEST:
        raise UnreadableError(f"packed more than {DEEPEST} times")
    if kind in COMPRESSED:
        _scan(job, buffered(decompressed(stream, kind, job.budget)), place, depth + 1)
    elif kind in ARCHIVES:
        members = zip_members if kind == "zip" else tar_members
        for name, chunks in members(stream, job.budget):
            job.tally.counts["members"] += 1
            inside = Place(f"{place.path}!{name}", place.commit)
            _scan(job, buffered(chunks), inside, depth + 1)
    else:
        whole = chunks_of(stream)
        text = as_utf8(whole, kind) if kind.startswith(_WIDE) else whole
        job.tally.add(job.scanner.scan(text, place, is_binary=kind == "binary"))
