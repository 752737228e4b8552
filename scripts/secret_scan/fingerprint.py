"""The key of fingerprints: random, the user's own, so that no list of guesses opens a report."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cli import ConfigurationError
from common.folders import CONFIGURATION_VARIABLE, configuration_folder

if TYPE_CHECKING:
    from pathlib import Path

KEY_NAME = "secret-scan.key"
SHORTEST_KEY_BYTES = 32
_HEX_DIGITS = 32


@dataclass(frozen=True)
class FingerprintKey:
    """Makes fingerprints."""

    key: bytes

    @property
    def id(self) -> str:
        """Names the key without showing it."""
        return hmac.digest(self.key, b"proof-pack secret-scan key id", "sha256").hex()[:16]

    def of(self, secret: bytes) -> str:
        """The fingerprint of a secret."""
        return hmac.digest(self.key, secret, "sha256").hex()[:_HEX_DIGITS]


def load_key(path: Path | None = None) -> FingerprintKey:
    """The key of a file, or the user's own, which is made on first use.

    Raises:
        ConfigurationError: missing, too short, others may read it, or it can't be made.
    """
    own = path is None
    folder = configuration_folder()
    path = path or folder / KEY_NAME
    try:
        if own and not os.path.lexists(path):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make(path)
        data = path.read_bytes().strip()
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise ConfigurationError(
            f"no key for fingerprints at {path}: {reason}: give --fingerprint-key, "
            f"or set {CONFIGURATION_VARIABLE} to a folder of yours"
        ) from problem
    if os.name == "posix" and mode & 0o077:
        raise ConfigurationError(f"{path}: expected mode 0600, got {mode:04o}: make a new key")
    if len(data) < SHORTEST_KEY_BYTES:
        raise ConfigurationError(
            f"{path}: expected a key of {SHORTEST_KEY_BYTES} bytes or more, got {len(data)}"
        )
    return FingerprintKey(data)


def _make(path: Path) -> None:
    from evidence.key_store import write_new

    with contextlib.suppress(FileExistsError):  # another process was first: its key is as good
        write_new(path, secrets.token_hex(32).encode() + b"\n", 0o600)
