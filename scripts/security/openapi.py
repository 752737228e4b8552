"""OpenAPI documents: their operations, and values that fit their schemas, or almost."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from security.wire import exchange

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

METHODS = ("put", "post", "patch", "get", "head", "options", "delete")
_OK = 200
_DEEPEST = 8
_ALPHABETS = ("0123456789abcdef", "abcdefghijklmnopqrstuvwxyz", "ABCXYZ", "0123456789")
_LENGTHS = (1, 8, 16, 24, 32, 40, 64)
_PLAIN = ("http://127.0.0.1:1/", "2026-01-01T00:00:00Z", "", "a b")


@dataclass(frozen=True)
class Operation:
    """One operation of one service.

    Args:
        schemes: names of security schemes, each of which is enough; none: it is open.
        parameters: OpenAPI parameter objects, references resolved.
        body: the schema of a JSON body; None where it takes another one, or none.
        media_type: of the body.
    """

    service: str
    method: str
    path: str
    schemes: tuple[str, ...]
    parameters: tuple[Mapping[str, Any], ...]
    body: Mapping[str, Any] | None
    media_type: str | None

    @property
    def name(self) -> str:
        """How the stack file calls it: `service METHOD /path`."""
        return f"{self.service} {self.method} {self.path}"


@dataclass(frozen=True)
class Document:
    """The OpenAPI document of one service."""

    service: str
    value: Mapping[str, Any]

    def operations(self) -> Iterator[Operation]:
        """Every operation: those that make something before those that take it away."""
        for method in METHODS:
            for path, item in self.value.get("paths", {}).items():
                if method in item:
                    yield self._operation(method, path, item[method])

    def _operation(self, method: str, path: str, value: Mapping[str, Any]) -> Operation:
        content = value.get("requestBody", {}).get("content", {})
        media_type = next(iter(content), None)
        schema = content.get("application/json", {}).get("schema")
        security = value.get("security", self.value.get("security", ()))
        return Operation(
            self.service,
            method.upper(),
            path,
            tuple(dict.fromkeys(name for item in security for name in item)),
            tuple(self.resolved(item) for item in value.get("parameters", ())),
            schema,
            "application/json" if schema is not None else media_type,
        )

    def resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """A schema, or what it refers to."""
        while "$ref" in schema:
            found: Any = self.value
            for key in schema["$ref"].lstrip("#/").split("/"):
                found = found[key]
            schema = found
        return schema


def read_document(service: str, url: str, path: str) -> Document:
    """The OpenAPI document that a service publishes.

    Raises:
        ScriptError: it publishes none: what there is can't be known, so nothing is proven.
    """
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    found = exchange(url, head.encode())
    if found.status != _OK:
        raise ScriptError(
            f"{service} publishes no OpenAPI document at {path}: expected status 200, got "
            f"{found.status or found.error}: name it in security.fuzz.document, or skip the service"
        )
    try:
        value = json.loads(found.answers[0].body)
        if not value["paths"]:
            raise ScriptError(f"{service}: the OpenAPI document names no path: nothing to fuzz")
    except (ValueError, KeyError, TypeError) as problem:
        raise ScriptError(f"{service}: expected an OpenAPI document, got other bytes") from problem
    return Document(service, value)


class Maker:
    """Makes values of a document's schemas."""

    def __init__(self, document: Document, generator: random.Random) -> None:
        """Take the source of chance: the same one gives the same values."""
        self._document, self._random = document, generator

    def good(self, schema: Mapping[str, Any], depth: int = 0) -> Any:  # noqa: ANN401, PLR0911 - one line a kind
        """A value that fits, as small as chance allows."""
        schema = self._document.resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self.good(schema[key][0 if depth else self._index(schema[key])], depth + 1)
        if "allOf" in schema:
            return self.good(schema["allOf"][0], depth + 1)
        kind = schema.get("type")
        kind = kind[0] if isinstance(kind, list) else kind
        if kind == "object" or "properties" in schema:
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in {"integer", "number"}:
            return self._number(schema)
        if kind == "string":
            return self._text(schema)
        return {"boolean": self._random.random() < 0.5}.get(str(kind))  # noqa: PLR2004 - a coin

    def _index(self, items: Sequence[Any]) -> int:
        return self._random.randrange(len(items))

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        needed = schema.get("required", ())
        found = {}
        for name, part in schema.get("properties", {}).items():
            if name in needed or (depth < _DEEPEST and self._random.random() < 0.3):  # noqa: PLR2004
                found[name] = self.good(part, depth + 1)
        return found

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        fewest = schema.get("minItems", 0)
        count = max(fewest, min(schema.get("maxItems", 2), self._random.randrange(3)))
        if "prefixItems" in schema:
            return [self.good(part, depth + 1) for part in schema["prefixItems"]]
        return [self.good(schema.get("items", {}), depth + 1) for _ in range(count)]

    def _number(self, schema: Mapping[str, Any]) -> int:
        lowest = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
        highest = schema.get("maximum", schema.get("exclusiveMaximum", lowest + 10))
        return int(
            self._random.choice([lowest, min(lowest + 1, highest), min(lowest + 7, highest)])
        )

    def _text(self, schema: Mapping[str, Any]) -> str:
        fits = [text for text in self._texts() if _fits(schema, text)]
        return self._random.choice(fits) if fits else "a"

    def _texts(self) -> Iterator[str]:
        yield from _PLAIN
        for alphabet in _ALPHABETS:
            for length in _LENGTHS:
                yield "".join(self._random.choices(alphabet, k=length))

    def broken(self, value: Any) -> Any:  # noqa: ANN401
        """A value that is not quite right: one place of it is changed."""
        places = [*_places(value)]
        place = self._random.choice(places)
        return _changed(value, place, self._odd())

    def _odd(self) -> Any:  # noqa: ANN401
        return self._random.choice(ODD)


_NEST: Any = "end"
for _ in range(200):
    _NEST = [_NEST]
# What programs stumble over; texts first, then numbers, then other kinds.
ODD: tuple[Any, ...] = (
    *("", " ", "\0", "a\0b", "\ud800", "\uffff", "\u202e", "a" * 70_000, "../../etc/passwd"),
    *("' OR '1'='1", "$(id)", "{{7*7}}", "%00", "%s%n", "\r\nX: y", "<script>", "null", "-0"),
    *(-1, 0, 2**31, 2**53, 2**63, 2**64, -(2**63), 10**30, 1e308, -1e308, 0.1, 1e-320),
    *(None, True, False, [], {}, [[]], {"": ""}, {"__proto__": {}}, _NEST, ["a"] * 1000),
)
RAW = (
    *(
        "",
        "{",
        "[" * 1000,
        "nul",
        "NaN",
        '{"a": Infinity}',
        '{"a": 1, "a": 2}',
        '"\\ud800"',
        "1e999",
    ),
    *("\udcff\udcfe", "\ufeff{}", "{}{}", "'a'", '{"a": ' + "9" * 5000 + "}", "[1,]", "\0"),
)


def _fits(schema: Mapping[str, Any], text: str) -> bool:
    if not schema.get("minLength", 0) <= len(text) <= schema.get("maxLength", 1 << 20):
        return False
    try:
        return re.search(schema.get("pattern", ""), text) is not None
    except re.error:
        return False


def _places(value: Any, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:  # noqa: ANN401
    yield where
    if isinstance(value, dict):
        yield (*where, "unknown")
        for key, item in value.items():
            yield from _places(item, (*where, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, (*where, index))


def _changed(value: Any, where: tuple[str | int, ...], odd: Any) -> Any:  # noqa: ANN401
    if not where:
        return odd
    key, *rest = where
    if isinstance(value, list) and isinstance(key, int):
        return [*value[:key], _changed(value[key], tuple(rest), odd), *value[key + 1 :]]
    return {**value, key: _changed(value.get(key), tuple(rest), odd)}
