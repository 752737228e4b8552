"""The secrets that a stack file names: from the environment, else made at random for one run."""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING

from common.cli import ConfigurationError
from common.documents import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SECRETS_FILE = "secrets.json"
SECRET_BYTES = 32
_MINIMUM_LENGTH = 16


def choose_secrets(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """The value of each secret: from the environment, else 32 random bytes in hex.

    Raises:
        ConfigurationError: a value from the environment has fewer than 16 characters.
    """
    values = {}
    for name in names:
        value = environ.get(name) or secrets.token_hex(SECRET_BYTES)
        if len(value) < _MINIMUM_LENGTH:
            raise ConfigurationError(
                f"{name}: expected at least {_MINIMUM_LENGTH} characters, got {len(value)}: "
                "use a longer secret, or unset it to have one made"
            )
        values[name] = value
    return values


def keep_secrets(values: Mapping[str, str], state: Path) -> None:
    """Write the secrets into a run's private state folder (mode 0600), for other commands."""
    handle = os.open(state / SECRETS_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(dict(values), file)


def read_secrets(state: Path) -> dict[str, str]:
    """The secrets kept in a state folder; empty where none are kept."""
    path = state / SECRETS_FILE
    return dict(read_json(path).value) if path.is_file() else {}
