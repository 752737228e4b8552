"""Every variable that a service is told, with its place and its purpose; values are never shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from configuration import variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SECRET_NAME = re.compile(
    r"(?:^|[_.])(?:pass(?:word|wd|phrase)?|secret(?:_?key)?|token|api_?key|access_?key|"
    r"private_?key|signing_?key|encryption_?key|master_?key|session_?key|credentials?|"
    r"requirepass)(?:_?[0-9]+)?$|.[_.]pwd$",
    re.IGNORECASE,
)
_OWN = re.compile(r"\{secret:([A-Z0-9_]+)\}")
# A pair of words, and then a URL: what SQLAlchemy writes before a driver.
URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>|]+", re.IGNORECASE)


@dataclass(frozen=True)
class Setting:
    """A variable that something is told.

    Args:
        name: of the variable.
        place: where it is set, for people.
        value: what it is, variables filled.
        raw: as it is written.
        purpose: what it is for: two secrets of one purpose are one secret.
        source: made | environment | env-file | stack | compose | secret-file.
        secret: nobody may know it.
        service: whose it is; "" where it is not one service's own.
        path: the file that holds the value, where it is one of secrets.
    """

    name: str
    place: str
    value: str = field(repr=False)
    raw: str = field(repr=False)
    purpose: str
    source: str
    secret: bool
    service: str = ""
    path: str = ""


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name holds a secret itself, not the path or the URL of one."""
    return bool(_SECRET_NAME.search(name))


def make_setting(
    name: str,
    raw: str,
    *,
    values: Mapping[str, str],
    place: str,
    source: str,
    named: frozenset[str] = frozenset(),
    service: str = "",
) -> Setting:
    """A setting of a written text, with its variables filled."""
    own = _OWN.fullmatch(raw)
    purpose = (own and own[1]) or variables.only_reference(raw) or name
    value = values.get(own[1], "") if own else variables.fill(raw, values)
    value = _OWN.sub(lambda found: values.get(found[1], ""), value)
    secret = name in named or is_secret_name(name) or bool(own)
    return Setting(name, place, value, raw, purpose, source, secret, service)


def url_passwords(item: Setting) -> Iterator[Setting]:
    """The passwords of the URLs in a setting, as secrets of their own."""
    written = [_password(text) for text in URL.findall(item.raw)]
    for number, text in enumerate(URL.findall(item.value)):
        password = _password(text)
        if not password:
            continue
        raw = written[number] if number < len(written) else ""
        own = _OWN.fullmatch(raw)
        purpose = (own and own[1]) or variables.only_reference(raw) or f"{item.name} (password)"
        place = f"{item.place} (password in the URL)"
        value = unquote(password)
        yield Setting(
            name=f"{item.name} (password)",
            place=place,
            value=value,
            raw=raw,
            purpose=purpose,
            source=item.source,
            secret=True,
            service=item.service,
            path=item.path,
        )


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""
