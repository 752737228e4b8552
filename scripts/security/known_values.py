"""Search the services' logs for every secret that the probe knows or has sent (G3d)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evidence.redact import forms_of
from stack.log_views import BLOCK_BYTES, NO_LOG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SHORTEST = 16
_NO_LOG = NO_LOG.encode()


@dataclass(frozen=True)
class Searched:
    """How much was searched, in which logs something was found, and which could not be seen."""

    values: int
    logs: int
    size_bytes: int
    found: tuple[str, ...]
    unseen: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The part `known_values` of the figures; which value it was is in nobody's evidence."""
        return {
            "values": self.values,
            "logs": self.logs,
            "size_bytes": self.size_bytes,
            "found": len(self.found),
            "where": list(self.found),
        }


def search(logs: Mapping[str, Path | None], values: Mapping[str, str]) -> Searched:
    """Look for values, also encoded ones, in whole logs.

    Args:
        logs: the files by service; None where one can't be seen. That one is not counted, nor
            is one that the engine did not give whole.
        values: what must not be there, with what it is called; texts of less than 16 signs
            stand anywhere by accident, and are neither looked for nor counted.
    """
    long = {value: name for value, name in values.items() if len(value) >= SHORTEST}
    wanted = {
        form.encode("utf-8", "replace"): name
        for value, name in long.items()
        for form in forms_of(value)
    }
    found, unseen, seen, size = [], [], 0, 0
    for name, path in sorted(logs.items()):
        if path is None or is_cut(path):
            unseen.append(name)
            continue
        seen += 1
        size += path.stat().st_size
        found += [f"{name}: {what}" for what in sorted({*hits(_blocks(path), wanted)})]
    return Searched(len(long), seen, size, tuple(found), tuple(unseen))


def hits(blocks: Iterable[bytes], wanted: Mapping[bytes, str]) -> Iterator[str]:
    """What is found in a text that comes in parts, as often as it is met.

    Args:
        blocks: the parts, in order; no more than one of them is held.
        wanted: what is looked for, with what it is called.
    """
    longest = max(map(len, wanted), default=1)
    tail = b""
    for block in blocks:
        text = tail + block
        yield from (name for form, name in wanted.items() if form in text)
        tail = text[-longest:]


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def is_cut(path: Path) -> bool:
    """Whether the engine broke off before it gave a log whole: it says so at the end of it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - BLOCK_BYTES))
        return _NO_LOG in file.read().rstrip(b"\n").rpartition(b"\n")[2]
