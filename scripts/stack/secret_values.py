"""The secrets that a stack file names: from the environment, else made at random for one run."""

from __future__ import annotations

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


def make_secrets(names: Iterable[str], environ: Mapping[str, str], state: Path) -> dict[str, str]:
    """Look up or make each secret and keep them in the state folder (mode 0600).

    Raises:
        ConfigurationError: a value from the environment has fewer than 16 characters.
    """
    import json

    values = {}
    for name in names:
        value = environ.get(name) or secrets.token_hex(SECRET_BYTES)
        if len(value) < _MINIMUM_LENGTH:
            raise ConfigurationError(
                f"{name}: expected at least {_MINIMUM_LENGTH} characters, got {len(value)}: "
                "use a longer secret, or unset it to have one made"
            )
        values[name] = value
    handle = os.open(state / SECRETS_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(values, file)
    return values


def read_secrets(state: Path) -> dict[str, str]:
    """The secrets kept in a state folder; empty where none are kept."""
    path = state / SECRETS_FILE
    return dict(read_json(path).value) if path.is_file() else {}
