"""The `file_modes` section of a stack file: which modes its files must have (K1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PLACEHOLDERS = frozenset({"here", "state"})
_INSIDE = re.compile(r"([a-zA-Z0-9][a-zA-Z0-9._-]*):(/.*)")


@dataclass(frozen=True)
class FileMode:
    """A mode that files must have.

    Args:
        path: with placeholders; may be a pattern such as `{state}/*.db`.
        mode: exactly this one, in octal; "" where `at_most` is given.
        at_most: no bit beyond these.
        why: for people.
        runtimes: where it holds; empty: in all.
        service: the Compose service inside whose container the path is; "" on this machine.
    """

    path: str
    mode: str
    at_most: str
    why: str
    runtimes: tuple[str, ...] = ()
    service: str = ""


def read_file_modes(items: Sequence[Mapping[str, Any]]) -> tuple[FileMode, ...]:
    """Convert a section that the schema has accepted."""
    return tuple(_read(item) for item in items)


def file_mode_problems(
    items: Sequence[Mapping[str, Any]], runtimes: Sequence[str]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where a section says what can't hold, and why."""
    known = ", ".join(runtimes)
    for index, item in enumerate(items):
        for name in item.get("only_for", ()):
            if name not in runtimes:
                where = ("file_modes", index, "only_for")
                yield where, f"expected a runtime of the stack file ({known}), got {name!r}"
        if _INSIDE.fullmatch(item["path"]) and "compose" not in runtimes:
            where = ("file_modes", index, "path")
            yield where, f"a path inside a container needs the runtime compose, got {known}"


def _read(item: Mapping[str, Any]) -> FileMode:
    inside = _INSIDE.fullmatch(item["path"])
    return FileMode(
        path=inside[2] if inside else item["path"],
        mode=item.get("mode", ""),
        at_most=item.get("at_most", ""),
        why=item["why"],
        runtimes=("compose",) if inside else tuple(item.get("only_for", ())),
        service=inside[1] if inside else "",
    )
