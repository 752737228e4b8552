"""A Compose file as it is written: anchors and merges resolved, variables not yet.

`docker compose config` would hide what the checks look for: which value is a default, and
which is read from the environment. Every service counts, whatever its profiles.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError
from common.documents import read_text
from configuration import variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOST_FILES = 50
_DRIVE = re.compile(r"[A-Za-z]:(?=[\\/])")


@dataclass(frozen=True)
class Variable:
    """A variable that a service, or its build, is told; `raw` is None where it is passed on."""

    service: str
    section: str
    name: str
    raw: str | None = field(repr=False)


@dataclass(frozen=True)
class Port:
    """A published port; `host` is the address, "" for all."""

    host: str
    published: str
    target: str

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True)
class ComposeFile:
    """Services, secrets and configs of a file and of all that it includes or extends.

    `values` are the variables that its references are filled from.
    """

    path: Path
    services: Mapping[str, Mapping[str, Any]] = field(repr=False)
    secrets: Mapping[str, Mapping[str, Any]] = field(repr=False)
    configs: Mapping[str, Mapping[str, Any]] = field(repr=False)
    values: Mapping[str, str] = field(repr=False)

    def fill(self, value: object) -> str:
        """A scalar of the file as text, variables filled."""
        return variables.fill(written(value), self.values)

    def variables_of(self, service: str) -> Iterator[Variable]:
        """What a service is told: environment, arguments of its build, labels."""
        item = self.services[service]
        build = item.get("build")
        sections = {
            "environment": item.get("environment"),
            "build.args": build.get("args") if isinstance(build, dict) else None,
            "labels": item.get("labels"),
        }
        for section, entries in sections.items():
            for name, raw in _pairs(entries):
                yield Variable(service, section, name, raw)

    def texts(self, service: str) -> Iterator[tuple[str, str]]:
        """(place, words) of everything that a service runs."""
        item = self.services[service]
        health = item.get("healthcheck")
        test = health.get("test") if isinstance(health, dict) else None
        for key, value in (
            ("entrypoint", item.get("entrypoint")),
            ("command", item.get("command")),
            ("healthcheck.test", test),
        ):
            if value:
                words = value if isinstance(value, list) else [value]
                yield key, self.fill(" ".join(map(written, words)))

    def env_files(self) -> list[Path]:
        """The files of `env_file`, and the .env beside the file, where they are there."""
        found = [self.path.parent / ".env"]
        for item in self.services.values():
            for entry in _list(item.get("env_file")):
                text = entry.get("path", "") if isinstance(entry, dict) else entry
                found.append(self.path.parent / self.fill(text))
        return [path for path in dict.fromkeys(found) if path.is_file()]

    def mounts(self, service: str) -> Iterator[str]:
        """What of this machine a service mounts, variables filled."""
        for entry in _list(self.services[service].get("volumes")):
            if isinstance(entry, dict):
                if entry.get("type") in {"bind", "npipe"}:
                    yield self.fill(entry.get("source", ""))
            elif ":" in (text := self.fill(entry)):
                drive = _DRIVE.match(text)
                yield (drive[0] if drive else "") + text[2 if drive else 0 :].partition(":")[0]

    def ports(self, service: str) -> Iterator[Port]:
        """The published ports of a service."""
        for entry in _list(self.services[service].get("ports")):
            if isinstance(entry, dict):
                host, number = (self.fill(entry.get(key, "")) for key in ("host_ip", "published"))
                yield Port(host, number, self.fill(entry.get("target", "")))
            else:
                yield _port(self.fill(entry))

    def names(self) -> frozenset[str]:
        """Host names that mean a container of this file."""
        found = set(self.services)
        for item in self.services.values():
            found |= {self.fill(item[key]) for key in ("hostname", "container_name") if key in item}
            networks = item.get("networks")
            for network in networks.values() if isinstance(networks, dict) else ():
                found |= {*map(self.fill, (network or {}).get("aliases") or ())}
        return frozenset(found)


def read_compose_file(path: Path, values: Mapping[str, str]) -> ComposeFile:
    """Read a Compose file and the files that it includes or extends.

    Raises:
        ConfigurationError: a file is missing, is no YAML, or has no services.
    """
    parts: dict[str, dict[str, Any]] = {"services": {}, "secrets": {}, "configs": {}}
    waiting, seen = [path], set[Path]()
    while waiting:
        file = waiting.pop(0)
        if file.resolve() in seen:
            continue
        seen.add(file.resolve())
        if len(seen) > _MOST_FILES:
            raise ConfigurationError(f"{path}: expected at most {_MOST_FILES} included files")
        value = _load(file)
        for section, known in parts.items():
            for name, item in (value.get(section) or {}).items():
                known.setdefault(str(name), item if isinstance(item, dict) else {})
        waiting += _further(value, file.parent, values)
    if not parts["services"]:
        raise ConfigurationError(f"{path}: expected services, got none")
    return ComposeFile(path, parts["services"], parts["secrets"], parts["configs"], values)


def written(value: object) -> str:
    """A scalar as Compose reads it: truth values in lower case, nothing for null."""
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _load(path: Path) -> dict[str, Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        """Knows the tags with which Compose overrides."""

    def plain(loader: yaml.SafeLoader, node: yaml.Node) -> object:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        if isinstance(node, yaml.SequenceNode):
            return loader.construct_sequence(node, deep=True)
        return loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None

    for tag in ("!reset", "!override"):
        Loader.add_constructor(tag, plain)
    try:
        value = yaml.load(read_text(path), Loader)  # noqa: S506 - a subclass of the safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{path}{line}: not YAML") from problem
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path}: expected a mapping, got something else")
    return value


def _further(value: Mapping[str, Any], folder: Path, values: Mapping[str, str]) -> list[Path]:
    found: list[object] = []
    for entry in _list(value.get("include")):
        found += _list(entry.get("path")) if isinstance(entry, dict) else [entry]
    for item in (value.get("services") or {}).values():
        extended = item.get("extends") if isinstance(item, dict) else None
        if isinstance(extended, dict) and extended.get("file"):
            found.append(extended["file"])
    return [folder / variables.fill(written(text), values) for text in found]


def _pairs(entries: object) -> Iterator[tuple[str, str | None]]:
    if isinstance(entries, dict):
        for name, value in entries.items():
            yield str(name), None if value is None else written(value)
    for entry in _list(entries) if not isinstance(entries, dict) else ():
        name, mark, value = written(entry).partition("=")
        yield name, value if mark else None


def _list(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _port(text: str) -> Port:
    """`[[host:]published:]target[/protocol]`, the host perhaps in brackets."""
    text = text.partition("/")[0]
    before, _, target = text.rpartition(":")
    host, _, published = before.rpartition(":")
    return Port(host, published, target)
