"""Scan one stream of text: windows, rules, judgement; the secret ends here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secret_scan.allow import is_allowed_inline
from secret_scan.decoding import encoded_texts
from secret_scan.findings import Finding, Tally
from secret_scan.judging import Context, Place, allows, is_secret
from secret_scan.windows import BEFORE_BYTES, windows, windows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from secret_scan.engine import Engine, Look, Match
    from secret_scan.fingerprint import FingerprintKey
    from secret_scan.rules import Rule
    from secret_scan.windows import Window


@dataclass(frozen=True)
class Piece:
    """Where in a window a secret stands, and what it is; lives within this module only."""

    match: Match
    start: int
    end: int
    secret: bytes
    decoded: str | None = None


def _wanted(place: Place, *, is_binary: bool) -> Callable[[Rule], bool]:
    name = place.path.encode("utf-8", "surrogateescape")

    def wanted(rule: Rule) -> bool:
        if is_binary and rule.is_text_only:
            return False
        return rule.path is None or rule.path.search(name)

    return wanted


def _anchor(match: Match) -> int:
    # One secret that two rules find belongs to one window, wherever their matches begin.
    far = match.secret_start - match.start > BEFORE_BYTES
    return match.start if far else match.secret_start


class TextScanner:
    """Finds secrets in streams.

    Args:
        engine: the rules.
        key: makes the fingerprints.
        inline_allow: whether allow comments count.
    """

    def __init__(self, engine: Engine, key: FingerprintKey, *, inline_allow: bool = True) -> None:
        """See the class."""
        self.engine, self._key, self._inline_allow = engine, key, inline_allow
        rules = engine.rules.rules
        self._of_paths = [
            (rule, rule.path) for rule in rules if rule.path is not None and rule.pattern is None
        ]
        self._excluding = [one for one in engine.rules.allowlists if one.is_about_paths_alone]

    def is_excluded(self, path: str) -> bool:
        """Whether the rule file passes over everything in a file of that name."""
        name = path.encode("utf-8", "surrogateescape")
        return any(any(pattern.search(name) for pattern in one.paths) for one in self._excluding)

    def scan(
        self,
        chunks: Iterable[bytes],
        place: Place,
        *,
        is_binary: bool,
        before: bytes = b"",
        core_bytes: int | None = None,
    ) -> Tally:
        """Scan a stream, or a part of one (see `windows`), of which the lines are counted."""
        tally = Tally()
        pieces = windows(chunks, before=before, core_bytes=core_bytes)
        for window in self._scanned(pieces, place, tally, is_binary=is_binary):
            if core_bytes is not None:
                tally.newlines += window.text.count(b"\n", window.core_start, window.core_end)
        return tally

    def scan_bytes(self, data: bytes, place: Place, tally: Tally, *, is_binary: bool) -> None:
        """Scan what is in memory as a whole."""
        for _ in self._scanned(windows_of(data), place, tally, is_binary=is_binary):
            pass

    def _scanned(
        self, pieces: Iterable[Window], place: Place, tally: Tally, *, is_binary: bool
    ) -> Iterator[Window]:
        wanted = _wanted(place, is_binary=is_binary)
        for window in pieces:
            tally.counts["bytes"] += window.core_end - window.core_start
            look = self.engine.look(window.text, is_binary=is_binary)
            if look.candidates or look.may_hide_text:
                for piece in self._pieces(window, look, wanted, place):
                    self._take(piece, window, place, tally)
            yield window

    def by_path(self, place: Place) -> list[Finding]:
        """What rules say of a file for its name alone."""
        name = place.path.encode("utf-8", "surrogateescape")
        return [
            Finding(place.path, 1, 1, None, rule.id, 0, self._key.of(name), None, place.commit)
            for rule, path in self._of_paths
            if path.search(name)
        ]

    def _pieces(
        self, window: Window, look: Look, wanted: Callable[[Rule], bool], place: Place
    ) -> list[Piece]:
        text, found = window.text, list[Piece]()
        for match in self.engine.matches(text, wanted, look):
            start, end = match.secret_start, match.secret_end
            if not window.core_start <= _anchor(match) < window.core_end:
                continue
            if not any(one.start < end and start < one.end for one in found) and self._counts(
                match, text, place
            ):
                found.append(Piece(match, start, end, text[start:end]))
        hidden = encoded_texts(text) if look.may_hide_text else ()
        for kind, start, end, plain in hidden:
            inside = window.core_start <= start < window.core_end
            if inside and not any(one.start < end and start < one.end for one in found):
                found += self._inner(kind, (start, end), plain, wanted, place)
        return found

    def _inner(
        self,
        kind: str,
        span: tuple[int, int],
        plain: bytes,
        wanted: Callable[[Rule], bool],
        place: Place,
    ) -> list[Piece]:
        found = list[Piece]()
        for match in self.engine.matches(plain, wanted):
            start, end = match.secret_start, match.secret_end
            known = any(one.secret == plain[start:end] for one in found)
            if not known and self._counts(match, plain, place):
                found.append(Piece(match, *span, plain[start:end], kind))
        return found[:1] if len({one.secret for one in found}) == 1 else found

    def _counts(self, match: Match, text: bytes, place: Place) -> bool:
        stop = text.find(b"\n", match.end - 1)
        line = (text.rfind(b"\n", 0, match.start) + 1, len(text) if stop < 0 else stop)
        context = Context(text, line, place)
        lists = self.engine.rules.allowlists
        return is_secret(match, context) and not any(allows(one, match, context) for one in lists)

    def _take(self, piece: Piece, window: Window, place: Place, tally: Tally) -> None:
        start, end = window.line_bounds(piece.start, piece.end)
        if self._inline_allow and is_allowed_inline(window.text, start, end):
            tally.counts["allowed_inline"] += 1
            return
        cut = start == 0 and window.core_start > 0
        tally.findings.append(
            Finding(
                path=place.path,
                line=window.line_at(piece.start),
                end_line=window.line_at(max(piece.start, piece.end - 1)),
                column=None if cut else piece.start - start + 1,
                rule=piece.match.rule.id,
                length=len(piece.secret),
                fingerprint=self._key.of(piece.secret),
                decoded=piece.decoded,
                commit=place.commit,
            )
        )
