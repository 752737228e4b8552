"""Variables inside texts, as Compose reads them: `$X`, `${X}`, `${X:-default}`, `$$`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-?+]")


@dataclass(frozen=True)
class Reference:
    """One reference; `word` is what stands behind its operator."""

    name: str
    operator: str
    word: str

    def value(self, values: Mapping[str, str]) -> str | None:
        """What it stands for; None where nothing says so.

        Source: the interpolation rules of the Compose specification.
        """
        found = values.get(self.name)
        is_set = bool(found) if self.operator.startswith(":") else found is not None
        if self.operator.endswith("+"):
            return fill(self.word, values) if is_set else ""
        if is_set:
            return found
        return fill(self.word, values) if self.operator.endswith("-") else None


def parts(text: str) -> Iterator[str | Reference]:
    """A text as plain pieces and references, in order; `$$` is a plain `$`."""
    at = 0
    while (mark := text.find("$", at)) >= 0:
        yield text[at:mark]
        plain, braced = _NAME.match(text, mark + 1), text.startswith("{", mark + 1)
        end = _closing(text, mark + 1) if braced else -1
        if text.startswith("$", mark + 1):
            yield "$"
            at = mark + 2
        elif end > 0 and (found := _reference(text[mark + 2 : end])):
            yield found
            at = end + 1
        elif plain:
            yield Reference(plain[0], "", "")
            at = plain.end()
        else:
            yield "$"
            at = mark + 1
    yield text[at:]


def references(text: str) -> list[Reference]:
    """The references of a text, also those inside defaults."""
    found = [part for part in parts(text) if isinstance(part, Reference)]
    return [*found, *(inner for part in found for inner in references(part.word))]


def fill(text: str, values: Mapping[str, str]) -> str:
    """A text with its references replaced; one that nothing sets becomes empty, as in Compose."""
    filled = (part if isinstance(part, str) else part.value(values) or "" for part in parts(text))
    return "".join(filled)


def unset(text: str, values: Mapping[str, str]) -> list[str]:
    """Names of references that nothing sets."""
    return [part.name for part in references(text) if part.value(values) is None]


def only_reference(text: str) -> str | None:
    """The variable's name where a text is one reference and nothing else."""
    found = [part for part in parts(text) if part]
    return found[0].name if len(found) == 1 and isinstance(found[0], Reference) else None


def _closing(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at
    return -1


def _reference(inside: str) -> Reference | None:
    name = _NAME.match(inside)
    if not name:
        return None
    rest = inside[name.end() :]
    operator = _OPERATOR.match(rest)
    if rest and not operator:
        return None
    if operator is None:
        return Reference(name[0], "", "")
    return Reference(name[0], operator[0], rest[operator.end() :])
