"""Env files: `NAME=value` lines, as Compose and most shells read them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.cli import ConfigurationError
from common.documents import read_text
from configuration import variables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*(?:=(.*))?")
_QUOTED = re.compile(r"""\s*(['"])(.*)\1\s*(?:#.*)?""")
_COMMENT = re.compile(r"(?:^|\s)#.*")


@dataclass(frozen=True)
class Entry:
    """One line of an env file; `raw` is what stands there, without quotes."""

    name: str
    raw: str = field(repr=False)
    line: int
    literal: bool

    def value(self, values: Mapping[str, str]) -> str:
        """The value, with its variables filled unless single quotes forbid it."""
        return self.raw if self.literal else variables.fill(self.raw, values)


@dataclass(frozen=True)
class EnvFile:
    """An env file that was read."""

    path: Path
    entries: tuple[Entry, ...]

    def values(self, beside: Mapping[str, str]) -> dict[str, str]:
        """Every variable; a later line wins, and may use those above it."""
        found: dict[str, str] = {}
        for entry in self.entries:
            found[entry.name] = entry.value({**beside, **found})
        return found


def read_env_file(path: Path) -> EnvFile:
    """Read an env file.

    Raises:
        ConfigurationError: it can't be read, or a line is no assignment; names the line.
    """
    entries = []
    for number, line in enumerate(read_text(path).removeprefix("\ufeff").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if not found:
            raise ConfigurationError(
                f"{path}:{number}: expected NAME=value, got something else: correct the line"
            )
        if found[2] is not None:
            raw, literal = _unquoted(found[2])
            entries.append(Entry(found[1], raw, number, literal))
    return EnvFile(path, tuple(entries))


def _unquoted(text: str) -> tuple[str, bool]:
    if quoted := _QUOTED.fullmatch(text):
        return quoted[2], quoted[1] == "'"
    return _COMMENT.sub("", text).strip(), False
