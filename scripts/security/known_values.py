"""Search the services' logs for every secret that the probe knows or has sent (G3d)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from evidence.redact import forms_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SHORTEST = 16
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Searched:
    """How much was searched, and in which logs something was found."""

    values: int
    logs: int
    size_bytes: int
    found: tuple[str, ...]

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
        logs: the files by service; None where one can't be seen, which is then not counted.
        values: what must not be there, with what it is called.
    """
    wanted = {
        form.encode("utf-8", "replace"): name
        for value, name in values.items()
        if len(value) >= SHORTEST
        for form in forms_of(value)
    }
    known = {name: path for name, path in logs.items() if path is not None}
    found, size = [], 0
    for name, path in sorted(known.items()):
        size += path.stat().st_size
        found += [f"{name}: {what}" for what in sorted({*_hits(path, wanted)})]
    return Searched(len(values), len(known), size, tuple(found))


def _hits(path: Path, wanted: Mapping[bytes, str]) -> Iterable[str]:
    longest = max(map(len, wanted), default=1)
    tail = b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            text = tail + block
            yield from (name for form, name in wanted.items() if form in text)
            tail = text[-longest:]
