"""The optional faster prefilter: hyperscan tries all rules in one pass.

It only says which rules match somewhere in a text; where, RE2 says, so that findings are the
same with it and without. A rule that hyperscan can't take is a candidate everywhere. Compiling
takes seconds: the database is kept in the user's cache folder, by the hash of the rules.
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

if TYPE_CHECKING:
    from pathlib import Path

    from secret_scan.rules import RuleSet

_FLAGS = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
Sources = list[tuple[int, str]]


class HyperscanPrefilter:
    """See the module.

    Args:
        rules: those without an expression are no candidates.
    """

    name = "hyperscan"

    def __init__(self, rules: RuleSet) -> None:
        """Load the database, or compile it once."""
        sources = [
            (at, rule.pattern.source)
            for at, rule in enumerate(rules.rules)
            if rule.pattern is not None
        ]
        path = cache_folder() / "secret-scan" / f"{_digest(sources)}.hyperscan"
        loaded = _load(path)
        if loaded is None:
            loaded = _compile(sources)
            _keep(path, *loaded)
        accepted, self._database = loaded
        self._always = frozenset(at for at, _ in sources) - accepted
        _, self._encoded = _database([(0, ENCODED.source)])

    def candidates(self, text: bytes) -> set[int]:
        """See `Prefilter`."""
        found = set(self._always)
        if self._database is not None:
            self._database.scan(text, match_event_handler=lambda at, *_: found.add(at))
        return found

    def may_hide_text(self, text: bytes) -> bool:
        """See `Prefilter`."""
        found = list[int]()
        self._encoded.scan(text, match_event_handler=lambda at, *_: found.append(at))
        return bool(found)


def _digest(sources: Sources) -> str:
    text = json.dumps([version("hyperscan"), sources])
    return hashlib.sha256(text.encode()).hexdigest()


def _compile(sources: Sources) -> tuple[frozenset[int], Any]:
    try:
        return _database(sources)
    except hyperscan.error:
        return _database([one for one in sources if _accepts(one)])


def _database(sources: Sources) -> tuple[frozenset[int], Any]:
    if not sources:
        return frozenset(), None
    database = hyperscan.Database()
    database.compile(
        expressions=[source.encode("utf-8") for _, source in sources],
        ids=[at for at, _ in sources],
        elements=len(sources),
        flags=[_FLAGS] * len(sources),
    )
    return frozenset(at for at, _ in sources), database


def _accepts(source: tuple[int, str]) -> bool:
    try:
        _database([source])
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
    if database is None:
        return
    data = json.dumps(sorted(accepted)).encode() + b"\n" + bytes(hyperscan.dumpb(database))
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(OSError):  # a cache that can't be written only costs time
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.write_bytes(data)
        os.replace(draft, path)  # noqa: PTH105 - as the rest of this block
