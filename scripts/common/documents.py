"""Read JSON and YAML strictly: duplicate keys and NaN are errors that name their line."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from common.cli import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    import yaml

_TEXT_TAG = "tag:yaml.org,2002:str"
_TIME_TAG = "tag:yaml.org,2002:timestamp"
_FLOAT_TAG = "tag:yaml.org,2002:float"
_NO_JSON = {".nan", ".inf", "+.inf", "-.inf"}

JsonPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A parsed file, with the line of each value so that an error can name it."""

    path: Path
    value: Any
    lines: dict[JsonPath, int] = field(default_factory=dict)

    def line_of(self, where: JsonPath) -> int:
        """The 1-based line of the value at `where`, or of its nearest known parent."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)


def read_text(path: Path) -> str:
    """The UTF-8 text of a file.

    Raises:
        ConfigurationError: missing, a folder, unreadable, or not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as problem:
        raise ConfigurationError(
            f"can't read {path}: {(problem.strerror or str(problem)).lower()}"
        ) from problem
    except UnicodeDecodeError as problem:
        raise ConfigurationError(f"{path}: expected UTF-8 text, got {problem.reason}") from problem


def parse_json(text: str | bytes, name: str) -> Any:  # noqa: ANN401 - the JSON edge
    """Parse JSON, refusing duplicate keys, NaN, and bytes that are not UTF-8.

    Raises:
        ConfigurationError: with `name`, the line, and what was expected.
    """
    try:
        # json.loads would take UTF-16, UTF-32 and a byte order mark as well.
        text = text if isinstance(text, str) else text.decode("utf-8")
        return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except json.JSONDecodeError as problem:
        raise ConfigurationError(
            f"{name}:{problem.lineno}: not JSON: {problem.msg.lower()}"
        ) from problem
    except (_NotStrictError, UnicodeDecodeError, RecursionError) as problem:
        raise ConfigurationError(f"{name}: {problem}") from problem
    except ValueError as problem:  # what is left of them: Python's limit for integers
        digits = sys.get_int_max_str_digits()
        raise ConfigurationError(
            f"{name}: expected integers of at most {digits} digits, got a longer one"
        ) from problem


def read_json(path: Path) -> Document:
    """Read a JSON file strictly.

    Raises:
        ConfigurationError: missing, not JSON, duplicate keys, NaN.
    """
    return Document(path, parse_json(read_text(path), str(path)))


def read_yaml(path: Path) -> Document:
    """Read a YAML file, with the line of every value.

    Raises:
        ConfigurationError: missing, not YAML, duplicate keys, an alias loop.
    """
    import yaml

    text = read_text(path)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        lines: dict[JsonPath, int] = {}
        if node is not None:
            _note_lines(node, (), lines, path)
        value = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else 1
        raise ConfigurationError(f"{path}:{line}: not YAML: {problem.problem}") from problem
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        raise ConfigurationError(f"{path}: not YAML: {problem}") from problem
    return Document(path, value, lines)


def _note_lines(
    node: yaml.Node, where: JsonPath, lines: dict[JsonPath, int], path: Path, depth: int = 0
) -> None:
    import yaml

    if depth > 40:  # noqa: PLR2004 - no file of ours nests deeper; an alias loop does
        raise ConfigurationError(f"{path}:{node.start_mark.line + 1}: nested deeper than 40 levels")
    lines[where] = node.start_mark.line + 1
    if node.tag == _TIME_TAG or (node.tag == _FLOAT_TAG and str(node.value).lower() in _NO_JSON):
        raise ConfigurationError(
            f"{path}:{node.start_mark.line + 1}: expected a value that JSON has, got {node.value}: "
            "put it in quotes"
        )
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*where, index), lines, path, depth + 1)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if key.tag != _TEXT_TAG:
                raise ConfigurationError(
                    f"{path}:{line}: expected a text as key, got {name}, which YAML reads as "
                    f"{key.tag.rpartition(':')[2]}: put it in quotes"
                )
            if name in seen:
                raise ConfigurationError(
                    f"{path}:{line}: the key {name!r} stands twice (first on line {seen[name]}): "
                    "remove one"
                )
            seen[name] = line
            _note_lines(value, (*where, name), lines, path, depth + 1)
            lines[(*where, name)] = line


class _NotStrictError(ValueError):
    pass


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _NotStrictError(f"the JSON key {key!r} stands twice: expected once")
        found[key] = value
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise _NotStrictError(f"expected a JSON number, got {name}")
