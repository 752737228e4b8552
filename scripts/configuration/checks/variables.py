"""Required variables, URL variables, and placeholders that somebody forgot (K1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from common.cli import ConfigurationError
from common.documents import read_text
from configuration import variables
from configuration.model import Check, Row
from configuration.settings import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from configuration.model import Subject

_LARGEST_BYTES = 4 << 20
_KINDS = {
    "changeme": re.compile(r"change[-_ ]?(?:me|this|it|before|in[-_ ]production)\b", re.IGNORECASE),
    "your-…-here": re.compile(
        r"\b(?:your|my|insert|enter|put|paste|add)[-_ ](?:\w+[-_ ])*?"
        r"(?:here|key|token|secret|password|domain|host|value|id|name|email|url)\b",
        re.IGNORECASE,
    ),
    "<…>": re.compile(
        r"^<[^<>]+>$|<(?:your|my|insert|enter|put|paste|add|replace)\b[^<>]*>", re.IGNORECASE
    ),
    "TODO": re.compile(
        r"\b(?:TODO|FIXME|TBD|XXX)\b|\b(?:replace|fill)[-_ ]?(?:me|this|in)\b|\bplaceholder\b"
    ),
    "example": re.compile(r"^(?:an?[-_ ])?(?:example|sample|dummy)(?:[-_ ]\w+)?$", re.IGNORECASE),
    "xxxx": re.compile(r"(?<![A-Za-z0-9])[xX]{4,}(?![A-Za-z0-9])|^\*{3,}$|^\.{3,}$|^-{3,}$"),
    "unresolved variable": re.compile(
        r"\$\{[A-Z_][A-Z0-9_]*(?::?[-?+][^{}]*)?\}|^%[A-Z_]+%$|^@[A-Z_]+@$"
    ),
}  # fmt: skip
# Of a value only: files have templates of their own, such as Grafana's legends.
_TEMPLATE = re.compile(r"\{\{-?\s*[A-Za-z_.$][^{}]*\}\}")
_SECRET_EXAMPLE = re.compile(r"example|sample|dummy|placeholder", re.IGNORECASE)
_ASSIGNMENT = re.compile(
    r"""^\s*(?:-\s+)?["']?([A-Za-z_][\w.-]*)["']?\s*[:=]\s*["']?(.*?)["']?\s*,?\s*$"""
)
_COMMENT = re.compile(r"^\s*(?:#|;|//).*|\s#\s.*")


def required_variables(subject: Subject) -> Iterator[Row]:
    """Every variable that the stack file requires is set and not empty."""
    for name in subject.stack.required_env:
        value = subject.environ.get(name, "")
        problem = f"the variable {name} is not set: export it, or set it in an env file"
        if value and not value.strip():
            problem = f"the variable {name} is blank: give it a value"
        yield Row(name, "" if value.strip() else problem)


def service_urls(subject: Subject) -> Iterator[Row]:
    """Every variable that says where a service is holds an http or https URL."""
    for service in subject.stack.services:
        if service.url_env in subject.broken_urls:
            problem = "expected an http or https URL with a host, got something else: correct it"
            yield Row(str(service.url_env), problem)
        else:
            yield Row(service.name)


def placeholders(subject: Subject) -> Iterator[Row]:
    """No value is still the placeholder of a template."""
    for item in subject.settings:
        if item.source != "made" and item.value:
            kind = placeholder_kind(item.value, secret=item.secret)
            kind = kind or ("template" if _TEMPLATE.search(item.value) else "")
            yield Row(item.place, _left(kind) if kind else "")
    if subject.compose:
        yield from _unset(subject)
    for path in subject.files:
        yield from _lines_of(subject, path)


def placeholder_kind(value: str, *, secret: bool = False) -> str:
    """What kind of placeholder a value is; "" where it is none."""
    text = value.strip()
    for kind, pattern in _KINDS.items():
        if pattern.search(text):
            return kind
    return "example" if secret and _SECRET_EXAMPLE.search(text) else ""


def _left(kind: str) -> str:
    return f"a placeholder ({kind}) was left: put the real value there"


def _unset(subject: Subject) -> Iterator[Row]:
    """References of the Compose file to variables that nothing sets: they become empty."""
    compose = subject.compose
    assert compose is not None  # noqa: S101 - asked by `placeholders`
    for service in compose.services:
        for item in compose.variables_of(service):
            if item.raw is None:
                continue
            for name in variables.unset(item.raw, compose.values):
                place = f"{compose.path.name}: services.{service}.{item.section}.{item.name}"
                yield Row(place, f"${{{name}}} is set nowhere: set it, or give it a default")


def _lines_of(subject: Subject, path: Path) -> Iterator[Row]:
    place = subject.place_of(path)
    try:
        text = read_text(path) if path.stat().st_size <= _LARGEST_BYTES else None
    except ConfigurationError as problem:
        yield Row(place, f"{problem}: make it readable")
        return
    if text is None:
        yield Row(place, unseen=f"larger than {_LARGEST_BYTES >> 20} MiB")
        return
    found = False
    for number, line in enumerate(text.splitlines(), start=1):
        assigned = _ASSIGNMENT.match(_COMMENT.sub("", line))
        secret = bool(assigned) and is_secret_name(str(assigned and assigned[1]))
        if assigned and (kind := placeholder_kind(assigned[2], secret=secret)):
            found = True
            yield Row(f"{place}:{number}: {assigned[1]}", _left(kind))
    if not found:
        yield Row(place)


CHECKS = (
    Check("required-variables", "K1", required_variables, "the stack file requires no variable"),
    Check("service-urls", "K1", service_urls, "the stack file has no service"),
    Check("placeholders", "K1", placeholders, "no service is told anything", needed=True),
)
