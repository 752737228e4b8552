"""The user's pip settings, proxies and certificates: what a download in a container needs."""

from __future__ import annotations

import configparser
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from common import log

if TYPE_CHECKING:
    from collections.abc import Mapping

# Settings that say where packages come from; no other has a business in the container.
_KEPT = (
    "index-url",
    "extra-index-url",
    "trusted-host",
    "find-links",
    "proxy",
    "timeout",
    "retries",
)
_SOURCES = ("index-url", "extra-index-url", "find-links")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def pip_environment(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """Variables for a pip elsewhere that mean what the files and variables here mean.

    Folders of this machine are left out, with a warning: the container has none of them.

    Args:
        environ: the environment of the user.
        home: the user's home folder, for pip's files.
    """
    found: dict[str, str] = {}
    for file in configuration_files(environ, home):
        found.update(_read(file))
    for name in _KEPT:
        if text := environ.get(_variable(name), "").strip():
            found[name] = text
    variables = {_variable(name): _reachable(name, value) for name, value in found.items()}
    for proxy in (*_PROXIES, *map(str.lower, _PROXIES)):
        variables[proxy] = environ.get(proxy, "")
    return {name: value for name, value in variables.items() if value}


def configuration_files(environ: Mapping[str, str], home: Path) -> list[Path]:
    """The files that pip reads here, the weakest first."""
    if (only := environ.get("PIP_CONFIG_FILE")) is not None:
        return [Path(only)] if only and only != os.devnull else []
    configuration = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return [
        Path("/etc/pip.conf"),
        Path("/Library/Application Support/pip/pip.conf"),
        home / ".pip" / "pip.conf",
        configuration / "pip" / "pip.conf",
        home / "Library" / "Application Support" / "pip" / "pip.conf",
        Path(environ.get("APPDATA") or home) / "pip" / "pip.ini",
    ]


def certificates(environ: Mapping[str, str], home: Path) -> bytes | None:
    """The PEM bundle that the user's own pip trusts, where one is set and can be read."""
    candidates = [environ.get(variable) for variable in _CERTIFICATES]
    files = reversed(configuration_files(environ, home))
    candidates += [_section(file).get("cert") for file in files]
    for name in filter(None, candidates):
        path = Path(name).expanduser()
        if path.is_file():
            return path.read_bytes()
        log.warn(f"expected certificates in {path}, got no such file: left out")
    return None


def _read(file: Path) -> dict[str, str]:
    section = _section(file)
    return {name: section[name].strip() for name in _KEPT if section.get(name, "").strip()}


def _section(file: Path) -> dict[str, str]:
    """What a file sets for `pip download`; an unreadable file sets nothing, as for pip."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return {}
    except configparser.Error as problem:
        log.warn(f"{file}: can't be read as pip's configuration: {str(problem).splitlines()[0]}")
        return {}
    return {
        name.replace("_", "-"): value
        for section in ("global", "download")
        if parser.has_section(section)
        for name, value in parser.items(section)
    }


def _variable(name: str) -> str:
    return f"PIP_{name.upper().replace('-', '_')}"


def _reachable(name: str, value: str) -> str:
    """The part of a setting that means something on another machine."""
    if name not in _SOURCES:
        return value
    kept = [item for item in value.split() if urlsplit(item).scheme in {"http", "https"}]
    if left_out := len(value.split()) - len(kept):
        log.warn(f"pip's {name}: {left_out} folder(s) of this machine left out: only URLs go along")
    return " ".join(kept)
