"""Placeholders such as `{state}` in the texts of a stack file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_PLACEHOLDER = re.compile(r"\{([a-z_]+(?::[A-Z0-9_]+)?)\}")


def fill(text: str, values: Mapping[str, object]) -> str:
    """Replace each known `{name}`; a text in braces that is no placeholder stays."""
    return _PLACEHOLDER.sub(lambda found: str(values.get(found[1], found[0])), text)


def fill_value(value: Any, values: Mapping[str, object]) -> Any:  # noqa: ANN401 - the JSON edge
    """Fill every text inside a JSON value; a text that is one placeholder keeps its type."""
    if isinstance(value, str):
        whole = _PLACEHOLDER.fullmatch(value)
        if whole and whole[1] in values:
            return values[whole[1]]
        return fill(value, values)
    if isinstance(value, dict):
        return {key: fill_value(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_value(item, values) for item in value]
    return value


def unknown_placeholders(
    value: Any,  # noqa: ANN401 - the JSON edge
    known: Collection[str],
    where: tuple[str | int, ...] = (),
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each placeholder inside a JSON value that is not in `known`, with its place."""
    if isinstance(value, str):
        for name in _PLACEHOLDER.findall(value):
            if name not in known:
                yield where, name
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from unknown_placeholders(item, known, (*where, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_placeholders(item, known, (*where, index))
