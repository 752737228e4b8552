"""JSON Schema (2020-12) validation: schemas/*.schema.json, compiled once, errors in one line."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

    from common.documents import Document

SCHEMA_FOLDER = Path(__file__).resolve().parents[2] / "schemas"


@functools.cache
def validator(name: str) -> Draft202012Validator:
    """The compiled validator of `schemas/<name>.schema.json`; `$ref` reaches its siblings.

    Raises:
        ConfigurationError: there is no such schema.
    """
    from jsonschema import Draft202012Validator
    from referencing import Registry, Resource

    path = SCHEMA_FOLDER / f"{name}.schema.json"
    if not path.is_file():
        raise ConfigurationError(f"no schema {path}: the checkout is not complete")
    registry: Registry[Any] = Registry(  # type: ignore[call-arg]  # an attrs alias mypy can't see
        retrieve=lambda uri: Resource.from_contents(json.loads((SCHEMA_FOLDER / uri).read_text()))
    )
    return Draft202012Validator(
        json.loads(path.read_text()),
        registry=registry,
        format_checker=Draft202012Validator.FORMAT_CHECKER,
    )


def check(document: Document, name: str) -> None:
    """Hold a document against a schema.

    Raises:
        ConfigurationError: one line with file, line, path, expected and got.
    """
    problems = sorted(validator(name).iter_errors(document.value), key=_deepest_first)
    if not problems:
        return
    problem = _most_specific(problems[0])
    where = tuple(problem.absolute_path)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise ConfigurationError(
        f"{document.path}:{document.line_of(_line_path(problem))}: "
        f"{_dotted(where)}: {explain(problem)}{more}"
    )


def check_value(value: object, name: str, what: str) -> None:
    """Hold a value we made ourselves against its schema before it is written.

    Raises:
        ConfigurationError: one line with the path, expected and got.
    """
    for problem in validator(name).iter_errors(value):
        worst = _most_specific(problem)
        where = _dotted(tuple(worst.absolute_path))
        raise ConfigurationError(f"{what}: {where}: {explain(worst)}")


_WORDS = {
    "minItems": "at least {} entries",
    "minProperties": "at least {} entries",
    "minLength": "at least {} characters",
    "uniqueItems": "each entry once",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
}


def explain(problem: ValidationError) -> str:
    """One schema error as "expected X, got Y"."""
    rule, wanted, got = str(problem.validator), _wanted(problem), _short(problem.instance)
    if rule == "additionalProperties":
        known = ", ".join(sorted(_properties(problem))) or "none"
        return f"unknown key {_unknown_keys(problem)[0]!r}: expected one of {known}"
    if rule == "required":
        keys = _keys(problem)
        return f"expected the key {min(set(wanted) - keys)!r}, got {_short(sorted(keys))}"
    if rule == "type":
        expected = wanted if isinstance(wanted, str) else " or ".join(wanted)
    elif rule == "enum":
        expected = "one of " + ", ".join(map(str, wanted))
    elif rule == "pattern":
        expected = str(_schema(problem).get("description", f"a text like {wanted}"))
    elif rule == "const":
        expected = _short(wanted)
    elif rule in _WORDS:
        expected = _WORDS[rule].format(_short(wanted))
    else:
        expected = f"{rule} {_short(wanted)}"
    return f"expected {expected}, got {got}"


def _wanted(problem: ValidationError) -> Any:  # noqa: ANN401 - the JSON edge
    return problem.validator_value


def _schema(problem: ValidationError) -> dict[str, Any]:
    return problem.schema if isinstance(problem.schema, dict) else {}


def _keys(problem: ValidationError) -> set[str]:
    return set(problem.instance) if isinstance(problem.instance, dict) else set()


def _properties(problem: ValidationError) -> set[str]:
    return set(_schema(problem).get("properties", {}))


def _unknown_keys(problem: ValidationError) -> list[str]:
    return sorted(_keys(problem) - _properties(problem))


def _line_path(problem: ValidationError) -> tuple[str | int, ...]:
    where = tuple(problem.absolute_path)
    if problem.validator == "additionalProperties":
        return (*where, _unknown_keys(problem)[0])
    return where


def _most_specific(problem: ValidationError) -> ValidationError:
    while problem.context:
        problem = max(problem.context, key=lambda inner: len(inner.absolute_path))
    return problem


def _deepest_first(problem: ValidationError) -> tuple[int, str]:
    return (-len(problem.absolute_path), str(problem.message))


def _dotted(where: Sequence[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return text.lstrip(".") or "top level"


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004 - one line
