"""Names of files can hold secrets as well: no report shows those."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from secret_scan.findings import Finding, Unread
from secret_scan.judging import Context, Place, is_secret

if TYPE_CHECKING:
    from collections.abc import Iterable

    from secret_scan.engine import Engine
    from secret_scan.workers import Settings

MASK = "[masked]"
_Entry = TypeVar("_Entry", Finding, Unread)


def masked(entries: Iterable[_Entry], settings: Settings) -> list[_Entry]:
    """The entries, with secrets in their paths replaced."""
    listed = list(entries)
    if not listed:
        return []
    engine = settings.scanner().engine
    clean = {path: _clean(path, engine) for path in {entry.path for entry in listed}}
    return [replace(entry, path=clean[entry.path]) for entry in listed]


def _clean(path: str, engine: Engine) -> str:
    text = path.encode("utf-8", "surrogateescape")
    for match in engine.matches(text, lambda rule: rule.path is None):
        secret = text[match.secret_start : match.secret_end]
        if is_secret(match, Context(text, (0, len(text)), Place(path))):
            path = path.replace(secret.decode("utf-8", "surrogateescape"), MASK)
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
