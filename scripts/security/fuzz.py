"""Ask every operation of every service for what it takes, and for what it does not."""

from __future__ import annotations

import io
import json
import random
import tarfile
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from security.fuzz_rows import Row
from security.judge import SERVER_ERRORS, TRACES, read_json
from security.openapi import ODD, RAW, Maker, read_document
from security.places import NotHadError
from stack.placeholders import fill_value
from stack.workload import pointer

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Mapping

    from security.model import Security
    from security.openapi import Document, Operation
    from security.sending import Speaker
    from security.wire import Exchange
    from stack.model import Stack

GOOD_SHARE = 3  # one request of so many is a good one
_REFUSED = frozenset({401, 403})
_SUCCESS = range(200, 300)


class Fuzzer:
    """Fuzzes all services of a stack.

    Args:
        stack: the stack file.
        security: its section.
        speaker: sends in anybody's name.
        never: texts that no answer may hold, by what they are called.
        seed: the same one sends the same requests.
    """

    def __init__(
        self,
        stack: Stack,
        security: Security,
        speaker: Speaker,
        never: Mapping[str, str],
        seed: int,
    ) -> None:
        """Nothing is asked yet."""
        self._stack, self._fuzz, self._speaker = stack, security.fuzz, speaker
        self._never, self._seed = never, seed
        self._made: dict[tuple[str, str], dict[str, str]] = {}

    def run(self, requests_each: int, note: Callable[[Row], None]) -> list[Row]:
        """A row for each operation of each document.

        Raises:
            ScriptError: a service publishes no document.
        """
        rows = []
        for document, operation in self.operations():
            rows.append(self._one(document, operation, requests_each))
            note(rows[-1])
        return rows

    def operations(self) -> list[tuple[Document, Operation]]:
        """Every operation with the document that it stands in.

        Raises:
            ScriptError: a service publishes no document.
        """
        return [(item, operation) for item in self._documents() for operation in item.operations()]

    def _documents(self) -> Iterator[Document]:
        for service in self._stack.services:
            if service.role == "system" and service.name not in self._fuzz.skip_services:
                yield read_document(service.name, service.url, self._fuzz.document)

    def _one(self, document: Document, operation: Operation, count: int) -> Row:
        chance = random.Random(f"{self._seed} {operation.name}")  # noqa: S311 - repeatable, not secret
        maker = Maker(document, chance)
        row = Row(operation)
        row.caller, identity = self._caller(operation, maker, row)
        if operation.path not in self._fuzz.public:
            found = self._speaker.ready(self._good(operation, maker), {}).send()
            row.unauthenticated = found.status
            self._look_at(row, found, row.tried)
            if found.status not in _REFUSED:
                row.problems.append(f"without a token it answered {found.status}")
        for number in range(count):
            good = number % GOOD_SHARE == 0
            request = self._good(operation, maker)
            request = request if good else self._bad(operation, maker, chance, request)
            self._note(row, self._speaker.ready({**request, **identity}, {}).send(), request)
        return row

    def _caller(self, operation: Operation, maker: Maker, row: Row) -> tuple[str, dict[str, Any]]:
        """Who may call an operation: tried, because a document says how, not who."""
        candidates = [*self._candidates(operation)]
        for name, identity in candidates:
            try:
                found = self._speaker.ready({**self._good(operation, maker), **identity}, {}).send()
            except NotHadError:
                continue
            self._look_at(row, found, row.tried)
            if found.status not in _REFUSED:
                return name, identity
        return candidates[0] if candidates else ("nobody", {})

    def _candidates(self, operation: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
        for scheme in operation.schemes:
            entry = self._fuzz.schemes.get(scheme, {})
            if name := entry.get("identity"):
                yield name, {"as": name}
            for caller in entry.get("callers", ()):
                yield caller, {"token": {"caller": caller}}

    def _good(self, operation: Operation, maker: Maker) -> dict[str, Any]:
        values = self._values(operation, maker)
        request: dict[str, Any] = {"service": operation.service, "method": operation.method}
        request["path"] = _target(operation, values)
        body = self._fuzz.bodies.get(operation.name)
        if isinstance(body, dict) and "$tar" in body:
            return request | {"text": _tar(body["$tar"])}
        if body is not None:
            return request | {"body": fill_value(body, values)}
        if operation.body is not None:
            request["body"] = maker.good(operation.body)
        elif operation.media_type:
            request["text"] = "a"
        return request

    def _values(self, operation: Operation, maker: Maker) -> dict[str, str]:
        """Values of parameters: real ids where the stack file says how, else earlier ones."""
        needed = {item["name"] for item in operation.parameters if item.get("required")}
        wanted = needed | {name for name in self._fuzz.parameters if self._is_used(operation, name)}
        earlier = self._earlier(operation)
        values = {}
        for name in sorted(wanted):
            named = (item for item in operation.parameters if item["name"] == name)
            schema: Mapping[str, Any] = next(named, {}).get("schema", {})
            if name in self._fuzz.parameters:
                values[name] = self._real(name)
            elif name in earlier:
                values[name] = earlier[name]
            else:
                values[name] = str(maker.good(schema))
        return values

    def _is_used(self, operation: Operation, name: str) -> bool:
        body = self._fuzz.bodies.get(operation.name)
        return f"{{{name}}}" in operation.path or _names(body, name)

    def _earlier(self, operation: Operation) -> Mapping[str, str]:
        """Path parameters with which something was put where this operation looks."""
        if operation.method in {"PUT", "POST"}:
            return {}
        for (service, path), values in self._made.items():
            if service == operation.service and operation.path.startswith(path):
                return values
        return {}

    def _real(self, name: str) -> str:
        maker = self._fuzz.parameters[name]
        request = {key: value for key, value in maker.items() if key != "pointer"}
        inner = {
            other: self._real(other) for other in self._fuzz.parameters if _names(maker, other)
        }
        found = self._speaker.ready(request, inner).send()
        value = pointer(read_json(found.answers[0]), maker["pointer"]) if found.answers else None
        return str(value)

    def _bad(
        self, operation: Operation, maker: Maker, chance: random.Random, good: dict[str, Any]
    ) -> dict[str, Any]:
        """A good request with one thing wrong: the body, its bytes, a parameter."""
        kinds = [kind for kind in ("body", "raw") if "body" in good]
        kinds += ["parameter"] if operation.parameters else []
        kind = chance.choice(kinds or ["header"])
        if kind == "body":
            return {**good, "body": maker.broken(good["body"])}
        if kind == "raw":
            plain = {key: value for key, value in good.items() if key != "body"}
            headers = {"Content-Type": "application/json"}
            return {**plain, "text": chance.choice(RAW), "headers": headers}
        if kind == "header":
            return {**good, "headers": {"X-Trace-Id": "a" * chance.randrange(1, 5000)}}
        values = self._values(operation, maker)
        name = chance.choice([item["name"] for item in operation.parameters])
        values[name] = str(chance.choice(ODD[:30]))[:3000]
        return {**good, "path": _target(operation, values)}

    def _note(self, row: Row, found: Exchange, request: Mapping[str, Any]) -> None:
        self._look_at(row, found, row.statuses)
        if found.status in _SUCCESS and row.operation.method in {"PUT", "POST"}:
            key = (row.operation.service, row.operation.path)
            self._made[key] = _path_values(row.operation.path, str(request["path"]))

    def _look_at(self, row: Row, found: Exchange, counted: Counter[str]) -> None:
        """What no answer may be, whoever asked."""
        counted[str(found.status or "closed")] += 1
        if found.status is None:
            row.problems.append(f"no answer: {found.error or 'closed'}")
        elif found.status in SERVER_ERRORS:
            row.problems.append(f"status {found.status}")
        if TRACES.search(found.text):
            row.problems.append("the answer holds a stack trace or an internal error")
        for value, name in self._never.items():
            if value in found.text:
                row.problems.append(f"the answer holds {name}")


def _names(value: object, name: str) -> bool:
    return f"{{{name}}}" in json.dumps(value)


def _target(operation: Operation, values: Mapping[str, str]) -> str:
    """Path and query of an operation; every value in percent codes."""
    path = operation.path
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", _quoted(value) or "%20")
    query = [
        f"{quote(item['name'])}={_quoted(values[item['name']])}"
        for item in operation.parameters
        if item.get("in") == "query" and item["name"] in values
    ]
    return f"{path}?{'&'.join(query)}" if query else path


def _quoted(value: str) -> str:
    return quote(value.encode("utf-8", "surrogatepass"), safe="")


def _path_values(template: str, target: str) -> dict[str, str]:
    from urllib.parse import unquote

    parts = zip(template.split("/"), target.partition("?")[0].split("/"), strict=False)
    return {
        name[1:-1]: unquote(value)
        for name, value in parts
        if name.startswith("{") and name.endswith("}")
    }


def _tar(files: Mapping[str, str]) -> str:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return stream.getvalue().decode("utf-8", "surrogateescape")
