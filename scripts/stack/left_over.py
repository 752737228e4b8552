"""What a stopped system left, and what of it can be seen now: each kind by its name (G1)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Self

KINDS = ("late", "zombies", "processes", "sockets", "files", "containers", "networks", "volumes")
Inventory = dict[str, frozenset[str] | None]


class LeftOver(str):
    """A line about one thing that did not end or go away by itself, which knows its kind."""

    __slots__ = ("kind",)

    kind: str

    def __new__(cls, kind: str, line: str) -> Self:
        """A line of one of `KINDS`; "late" is what had to be killed in the end.

        Raises:
            ValueError: an unknown kind.
        """
        if kind not in KINDS:
            raise ValueError(f"expected one of {', '.join(KINDS)}, got {kind!r}")
        made = super().__new__(cls, line)
        made.kind = kind
        return made

    def __reduce__(self) -> tuple[type[LeftOver], tuple[str, str]]:
        """What a copy is made of."""
        return LeftOver, (self.kind, str(self))


def appeared(before: Inventory, after: Inventory) -> list[LeftOver]:
    """What is there after a stop that was not there before the start, of every kind seen."""
    return [
        LeftOver(kind, f"left over: {item}")
        for kind in KINDS
        for item in sorted((after.get(kind) or frozenset()) - (before.get(kind) or frozenset()))
    ]


def count_kinds(lines: Iterable[str], seen: Iterable[Inventory]) -> dict[str, int | None]:
    """How many lines there are of each kind; None for a kind that one inventory did not see.

    A line that names no kind counts as `late`: something did not go as it should.
    """
    counts = Counter(getattr(line, "kind", "late") for line in lines)
    looks: list[Mapping[str, frozenset[str] | None]] = [*seen]
    known = {
        kind: kind == "late" or (bool(looks) and all(one.get(kind) is not None for one in looks))
        for kind in KINDS
    }
    return {kind: counts[kind] if known[kind] or counts[kind] else None for kind in KINDS}
