"""Regular expressions of RE2 over bytes: linear in what they read, whatever that is."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# The automaton of one expression may grow to this; RE2 starts it anew beyond.
_MEMORY_BYTES = 8 << 20

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Pattern:
    """An expression, compiled when it is first used: most rules of a scan never are."""

    source: str

    @property
    def groups(self) -> int:
        """How many groups it has.

        Raises:
            ValueError: RE2 refuses it, with its reason.
        """
        return int(_compiled(self.source).groups)

    def search(self, text: bytes) -> bool:
        """Whether it stands anywhere in `text`."""
        return _compiled(self.source).search(text) is not None

    def spans(self, text: bytes, start: int = 0, end: int | None = None) -> Iterator[Spans]:
        """The spans of each match and of its groups; (-1, -1) for a group without one.

        `^`, `$` and word boundaries see what stands before `start` and behind `end`.
        """
        compiled = _compiled(self.source)
        groups = range(compiled.groups + 1)
        for match in compiled.finditer(text, start, len(text) if end is None else end):
            yield tuple(match.span(group) for group in groups)

    def spans_at(self, text: bytes, start: int, end: int) -> Spans | None:
        """The spans of the match that begins at `start`, if there is one."""
        match = _compiled(self.source).match(text, start, end)
        if match is None:
            return None
        return tuple(match.span(group) for group in range(match.re.groups + 1))

    def whole_spans(self, text: bytes) -> Iterator[tuple[int, int]]:
        """The span of each match."""
        return (match.span() for match in _compiled(self.source).finditer(text))


@functools.cache
def _compiled(source: str) -> Any:  # noqa: ANN401 - RE2's own type has no name
    import re2

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    try:
        # Beyond ASCII a text is read as its UTF-8 bytes, and so is the expression.
        return re2.compile(source.encode("utf-8"), options)
    except re2.error as problem:
        reason = problem.args[0] if problem.args else problem
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(text) from problem


def escaped(text: bytes) -> str:
    """An expression for exactly these bytes."""
    return "".join(f"\\x{byte:02x}" for byte in text)
