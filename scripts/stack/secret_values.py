"""The secrets that a stack file names: from the environment, else made at random for one run."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import ConfigurationError
from common.documents import read_json
from configuration.strength import MINIMUM_LENGTH
from stack.sealed_values import open_values, seal_values
from stack.secret_place import find_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stack.records import Record

SECRETS_FILE = "secrets.json"
SEALED_FILE = "secrets.sealed.json"
SECRET_BYTES = 32


def choose_secrets(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The value of each secret: from the environment, else 32 random bytes in hex.

    Raises:
        ConfigurationError: a value from the environment has fewer than 32 characters.

    Source: requirement K1; validate_config.py asks for the same length.
    """
    values = {}
    for name in names:
        value = environ.get(name) or make_secret()
        if len(value) < MINIMUM_LENGTH:
            raise ConfigurationError(
                f"{name}: expected at least {MINIMUM_LENGTH} characters, got {len(value)}: "
                "use a longer secret, or unset it to have one made"
            )
        values[name] = value
    return values


def make_secret() -> str:
    """A new secret: 32 random bytes in hex."""
    return secrets.token_hex(SECRET_BYTES)


def keep_secrets(values: Mapping[str, str], record: Record) -> None:
    """Keep a run's secrets for other commands: in memory, else sealed in its state folder."""
    if record.secrets:
        _write(Path(record.secrets) / SECRETS_FILE, json.dumps(dict(values)).encode())
        return
    _write(Path(record.state) / SEALED_FILE, seal_values(values))


def read_secrets(state: Path) -> dict[str, str]:
    """The secrets of the run whose state folder this is; empty where none are known.

    Raises:
        ConfigurationError: they are sealed with a key that is not this user's.
    """
    place, sealed = find_place(state), state / SEALED_FILE
    if place and (place / SECRETS_FILE).is_file():
        return dict(read_json(place / SECRETS_FILE).value)
    return open_values(sealed.read_bytes(), str(sealed)) if sealed.is_file() else {}


def _write(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
