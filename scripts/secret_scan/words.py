"""The words of scripts/rules/secret_words.yaml, read once."""

from __future__ import annotations

import functools

from common.documents import read_yaml
from common.folders import ROOT

WORDS = ROOT / "scripts/rules/secret_words.yaml"


@functools.cache
def words(name: str) -> frozenset[str]:
    """One of its lists; `nox -s schema` holds the file against its schema."""
    return _all()[name]


@functools.cache
def _all() -> dict[str, frozenset[str]]:
    return {
        name: frozenset(word for row in rows for word in ([row] if isinstance(row, str) else row))
        for name, rows in read_yaml(WORDS).value.items()
    }
