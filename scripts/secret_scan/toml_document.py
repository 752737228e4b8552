"""Read TOML with the line of every key, so that an error can name it."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from common.cli import ConfigurationError
from common.documents import Document, JsonPath, read_text

if TYPE_CHECKING:
    from pathlib import Path

_TABLE = re.compile(r"^\s*(\[\[?)\s*([A-Za-z0-9_.\s-]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_-]+)\s*=\s*(.*)$")
_FENCES = ("'''", '"""')


def read_toml(path: Path) -> Document:
    """Read a TOML file; keys that stand twice are errors of TOML itself.

    Raises:
        ConfigurationError: missing, not UTF-8, not TOML.
    """
    text = read_text(path)
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ConfigurationError(f"{path}: not TOML: {str(problem).lower()}") from problem
    return Document(path, value, _lines(text))


def _lines(text: str) -> dict[JsonPath, int]:
    """The line of each table and of each key that stands alone on its line."""
    found: dict[JsonPath, int] = {(): 1}
    counts: dict[JsonPath, int] = {}
    table: JsonPath = ()
    fence: str | None = None
    for number, line in enumerate(text.splitlines(), 1):
        if fence is not None:
            fence = None if fence in line else fence
            continue
        if head := _TABLE.match(line):
            table = _enter(head[1] == "[[", head[2], counts)
            found[table] = number
        elif key := _KEY.match(line):
            found[(*table, key[1])] = number
            fence = _opened(key[2])
    return found


def _enter(is_array: bool, name: str, counts: dict[JsonPath, int]) -> JsonPath:  # noqa: FBT001 - one caller
    where: JsonPath = ()
    parts = [part.strip() for part in name.split(".")]
    for index, part in enumerate(parts):
        where = (*where, part)
        if index == len(parts) - 1 and is_array:
            counts[where] = counts.get(where, -1) + 1
        if where in counts:
            where = (*where, counts[where])
    return where


def _opened(value: str) -> str | None:
    for fence in _FENCES:
        if value.count(fence) % 2:
            return fence
    return None
