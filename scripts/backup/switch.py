"""Put restored stores in the place of the old ones, so that a killed switch can be done again.

Several stores can't change places in one step. So what is about to happen is noted first, in
`.restoring.json` beside each of them; the note goes last. Where one is left, the stores may be
of two times: no backup is made of them, and the next restore goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backup.destination import sync_folder
from common.cli import ConfigurationError
from common.documents import parse_json
from gating.durable import remove, replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

NOTE = ".restoring.json"


@dataclass(frozen=True)
class Move:
    """One store that takes its place.

    Args:
        source: the restored one, checked, on the same disk as its place.
        target: its place.
        beside: what belongs to the old one, such as its write-ahead log.
        aside: the folder that the old one is moved to.
    """

    source: Path
    target: Path
    beside: tuple[Path, ...]
    aside: Path


def unfinished(targets: Iterable[Path]) -> list[Path]:
    """The notes of killed restores beside these places."""
    notes = {target.parent / NOTE for target in targets}
    return sorted(note for note in notes if os.path.lexists(note))


def noted_asides(targets: Sequence[Path]) -> dict[Path, Path]:
    """Where a killed restore put the old stores, by place; empty where none was killed.

    Raises:
        ConfigurationError: a note can't be read, or is of a restore of other stores.
    """
    asides: dict[Path, Path] = {}
    for note in unfinished(targets):
        try:
            value = parse_json(note.read_bytes(), str(note))
            for name, aside in value["asides"].items():
                asides[note.parent / name] = note.parent / aside
        except (OSError, KeyError, TypeError, AttributeError) as problem:
            raise ConfigurationError(f"{note}: expected the note of a restore: {problem}") from None
    if missing := sorted(set(asides) - set(targets)):
        raise ConfigurationError(
            f"a killed restore also had {missing[0]} in hand: restore that store with these"
        )
    return asides


def switch(moves: Sequence[Move]) -> list[Path]:
    """Move the old ones aside and the new ones in.

    Returns:
        The folders with what was replaced.

    Raises:
        OSError: a move failed; the notes stay, and doing it again goes on.
    """
    parents = sorted({move.target.parent for move in moves})
    for parent in parents:
        names = {m.target.name: m.aside.name for m in moves if m.target.parent == parent}
        replace(parent / NOTE, json.dumps({"asides": names}, sort_keys=True).encode() + b"\n")
    for move in moves:
        _put_aside(move)
    for move in moves:
        move.source.rename(move.target)
    for parent in parents:
        sync_folder(parent)
    for parent in parents:
        remove(parent / NOTE)
        sync_folder(parent)
    return [move.aside for move in moves if move.aside.is_dir()]


def _put_aside(move: Move) -> None:
    """The old store first, then what belongs to it: so what is there tells how far it came."""
    saved = move.aside / move.target.name
    if os.path.lexists(saved) and os.path.lexists(move.target):
        # A killed restore came as far as the new one, which is ours: the old one is safe.
        for path in (move.target, *move.beside):
            _discard(path)
        return
    for path in (move.target, *move.beside):
        if os.path.lexists(path):
            move.aside.mkdir(mode=0o700, exist_ok=True)
            path.rename(move.aside / path.name)
    if move.aside.is_dir():
        sync_folder(move.aside)
    sync_folder(move.target.parent)


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
