"""The optional faster first look: hyperscan tries all rules in one pass.

It says which rules match somewhere in a text, and where the keywords of located rules stand; what
matches, RE2 says, so that findings are the same with it and without. A rule that hyperscan can't
take is a candidate everywhere. Compiling takes seconds: the database is kept in the user's cache
folder, by the hash of what is in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import hyperscan

from common.folders import cache_folder
from secret_scan.decoding import ENCODED
from secret_scan.engine import Look
from secret_scan.patterns import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from secret_scan.keywords import Places
    from secret_scan.rules import Rule

_ONCE = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
_EACH = hyperscan.HS_FLAG_CASELESS
_ENCODED_ID, _FIRST_WORD_ID = 1 << 20, 1 << 21
Expressions = list[tuple[int, str, int]]


class HyperscanPrefilter:
    """See the module.

    Args:
        rules: those to look for, each with its order; without an expression, no candidates.
    """

    def __init__(self, rules: Iterable[tuple[int, Rule]]) -> None:
        """Load the database, or compile it once."""
        self._rules = {at: rule for at, rule in rules if rule.pattern is not None}
        self._words = [
            (at, len(word.encode("utf-8")), word)
            for at, rule in self._rules.items()
            if rule.is_located
            for word in rule.keywords
        ]
        expressions = self._expressions()
        path = cache_folder() / "secret-scan" / f"{_digest(expressions)}.hyperscan"
        loaded = _load(path)
        if loaded is None:
            loaded = _compile(expressions)
            _keep(path, *loaded)
        accepted, self._database = loaded
        self._always = frozenset(self._rules) - accepted
        self._may_always_hide = _ENCODED_ID not in accepted

    def look(self, text: bytes) -> Look:
        """See `Prefilter`."""
        events = list[tuple[int, int]]()
        self._database.scan(
            text, match_event_handler=lambda at, _start, end, *_: events.append((at, end))
        )
        if not events and not self._always:
            return Look((), self._may_always_hide)
        found = {at for at, _ in events if at < _FIRST_WORD_ID} | self._always
        may_hide = self._may_always_hide or _ENCODED_ID in found
        return Look(self._located(sorted(found - {_ENCODED_ID}), events, text), may_hide)

    def _expressions(self) -> Expressions:
        rules = [
            (at, rule.pattern.source, _ONCE) for at, rule in self._rules.items() if rule.pattern
        ]
        words = [
            (_FIRST_WORD_ID + index, escaped(word.lower().encode("utf-8")), _EACH)
            for index, (_, _, word) in enumerate(self._words)
        ]
        return [*rules, *words, (_ENCODED_ID, ENCODED.source, _ONCE)]

    def _located(
        self, found: list[int], events: list[tuple[int, int]], text: bytes
    ) -> list[tuple[int, Places]]:
        """The rules of which a keyword stands in the text, with its places where they matter."""
        lower, places = b"", dict[int, list[tuple[int, int]]]()
        if any(self._rules[at].is_located for at in found):
            for event, end in events:
                if event >= _FIRST_WORD_ID:
                    at, length, _ = self._words[event - _FIRST_WORD_ID]
                    places.setdefault(at, []).append((end - length, end))
        candidates: list[tuple[int, Places]] = []
        for at in found:
            rule = self._rules[at]
            if rule.is_located:
                if at in places:
                    candidates.append((at, sorted(places[at])))
                continue
            lower = lower or text.lower()
            if not rule.keywords or any(word.encode("utf-8") in lower for word in rule.keywords):
                candidates.append((at, None))
        return candidates


def _digest(expressions: Expressions) -> str:
    text = json.dumps([version("hyperscan"), expressions])
    return hashlib.sha256(text.encode()).hexdigest()


def _compile(expressions: Expressions) -> tuple[frozenset[int], Any]:
    try:
        return _database(expressions)
    except hyperscan.error:
        return _database([one for one in expressions if _accepts(one)])


def _database(expressions: Expressions) -> tuple[frozenset[int], Any]:
    database = hyperscan.Database()
    database.compile(
        expressions=[source.encode("utf-8") for _, source, _ in expressions],
        ids=[at for at, _, _ in expressions],
        elements=len(expressions),
        flags=[flags for _, _, flags in expressions],
    )
    return frozenset(at for at, _, _ in expressions), database


def _accepts(expression: tuple[int, str, int]) -> bool:
    try:
        _database([expression])
    except hyperscan.error:
        return False
    return True


def _load(path: Path) -> tuple[frozenset[int], Any] | None:
    # Damaged, or made on another kind of processor: hyperscan says so, and it is made anew.
    with contextlib.suppress(OSError, ValueError, hyperscan.error):
        head, _, data = path.read_bytes().partition(b"\n")
        database = hyperscan.loadb(data, hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
        return frozenset(json.loads(head)), database
    return None


def _keep(path: Path, accepted: frozenset[int], database: Any) -> None:  # noqa: ANN401 - hyperscan's own type
    data = json.dumps(sorted(accepted)).encode() + b"\n" + bytes(hyperscan.dumpb(database))
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):  # a cache that can't be written only costs time
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_bytes(data)
        os.replace(draft, path)  # noqa: PTH105 - as the rest of this block
