"""Reads single environment variables; each problem is one SettingsError that names its variable."""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

_LARGEST_SECRET_BYTES = 65_536
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_NAME}(?::[0-9]{{1,5}})?")
_HOST_AND_PORT = re.compile(rf"{_NAME}:[0-9]{{1,5}}")
_LISTEN_HOST = re.compile(rf"{_NAME}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*")


class SettingsError(Exception):
    """A variable is missing or wrong: "what is wrong: what to do"."""


def required(environ: Mapping[str, str], name: str) -> str:
    """The value of a secret that must be there, from `name` or the file of `<name>_FILE`.

    Raises:
        SettingsError: neither is set, both are, or the file gives nothing.
    """
    value = secret(environ, name)
    if not value:
        raise SettingsError(f"{name} is not set: start through the runtime, or export it")
    return value


def secret(environ: Mapping[str, str], name: str) -> str:
    """The value of `name`, or of the file that `<name>_FILE` names; "" where neither is set.

    Raises:
        SettingsError: both are set, or the file is missing, unreadable or empty.
    """
    value = environ.get(name, "").strip()
    path = environ.get(f"{name}_FILE", "").strip()
    if not path:
        return value
    if value:
        raise SettingsError(f"{name} and {name}_FILE are both set: keep one of them")
    return _content(f"{name}_FILE", Path(path))


def _content(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_SECRET_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise SettingsError(
            f"{name}: can't read {path}: {reason}: make the file, or correct its path"
        ) from problem
    except UnicodeDecodeError as problem:
        raise SettingsError(f"{name}: expected UTF-8 text in {path}, got other bytes") from problem
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip() or len(content) > _LARGEST_SECRET_BYTES:
        size = "an empty file" if not text.strip() else "a file of more"
        raise SettingsError(
            f"{name}: expected 1 to {_LARGEST_SECRET_BYTES} bytes in {path}, got {size}"
        )
    return text


def server_url(environ: Mapping[str, str], kind: str, schemes: tuple[str, ...]) -> str:
    """`<kind>_URL` with the password of `<kind>_PASSWORD[_FILE]` in it; "" where it isn't set.

    Raises:
        SettingsError: the scheme is none of `schemes`, or the password stands in two places.
    """
    name, url = f"{kind}_URL", environ.get(f"{kind}_URL", "").strip()
    if not url:
        return ""
    if not url.startswith(tuple(f"{scheme}:" for scheme in schemes)):
        wanted = " or ".join(f"{scheme}:" for scheme in schemes)
        raise SettingsError(f"{name}: expected {wanted}, got a URL with {url.partition(':')[0]!r}")
    password = "" if url.startswith("sqlite:") else secret(environ, f"{kind}_PASSWORD")
    return _with_password(name, url, password, f"{kind}_PASSWORD") if password else url


def _with_password(name: str, url: str, password: str, variable: str) -> str:
    parts = urlsplit(url)
    if parts.password is not None:
        raise SettingsError(f"{name} holds a password and {variable} is set: keep one of them")
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{user}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))


def hosts(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """`host` and `host:port` entries, in small letters.

    Raises:
        SettingsError: an entry is something else.
    """
    found = tuple(entry.lower() for entry in _entries(environ, name))
    for host in found:
        if not _HOST.fullmatch(host):
            raise SettingsError(f"{name}: expected host or host:port, got {host!r}")
    return found


def routes(environ: Mapping[str, str], name: str) -> Mapping[str, str]:
    """`host:port=host:port` entries: whoever asks for the left one is connected to the right one.

    Raises:
        SettingsError: an entry is something else.
    """
    found = {}
    for entry in _entries(environ, name):
        asked, _, connected = entry.lower().partition("=")
        if not _HOST_AND_PORT.fullmatch(asked) or not _HOST_AND_PORT.fullmatch(connected):
            raise SettingsError(f"{name}: expected host:port=host:port, got {entry!r}")
        found[asked] = connected
    return MappingProxyType(found)


def listen_host(environ: Mapping[str, str], name: str) -> str:
    """The address that a server listens on; only this machine's own by default.

    Raises:
        SettingsError: it is neither an address nor a name.
    """
    host = environ.get(name, "").strip() or "127.0.0.1"
    if not _LISTEN_HOST.fullmatch(host):
        raise SettingsError(f"{name}: expected an address such as 0.0.0.0, got {host!r}")
    return host


def seconds(environ: Mapping[str, str], name: str, default: float, most: float) -> float:
    """A number of seconds from 0 to `most`.

    Raises:
        SettingsError: it is something else.
    """
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) or float(text) > most:
        raise SettingsError(f"{name}: expected seconds from 0 to {most:g}, got {text!r}")
    return float(text)


def http_url(environ: Mapping[str, str], name: str, default: str) -> str:
    """An http(s) URL without a slash at its end.

    Raises:
        SettingsError: it is something else.
    """
    value = environ.get(name) or default
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"{name}: expected an http or https URL, got {value!r}")
    return value.rstrip("/")


def _entries(environ: Mapping[str, str], name: str) -> list[str]:
    entries = (entry.strip() for entry in environ.get(name, "").split(","))
    return [entry for entry in entries if entry]
