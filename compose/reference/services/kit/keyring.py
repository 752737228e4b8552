"""Keys in a running service: read again when their files change, kept when those are broken.

Looking costs a `stat`, so it is done at every token: a rotation or revocation counts from
the next request on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from services.kit.keys import (
    KeySet,
    key_id,
    key_set_path,
    load_private_key,
    parse_key_set,
    read_bounded,
    signing_key_path,
)
from services.kit.logs import Trouble
from services.kit.settings import SYSTEM_SERVICES, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

# A file that was changed in place shows in no folder's time: all are looked at this often.
LOOK_SECONDS = 1.0
# An unknown key id has the files looked at as well, but not by everybody who makes one up.
UNKNOWN_LOOK_SECONDS = 0.1

_Stamp = tuple[int, int, int] | None


class SigningKey:
    """The private key of one service, as its file has it now."""

    def __init__(self, folder: Path, service: str) -> None:
        """Read the key.

        Raises:
            SettingsError: it is missing or broken.
        """
        self._path = signing_key_path(folder, service)
        self._trouble = Trouble("the signing key can't be read: the last one is used", "read again")
        self._stamp = _stamp(self._path)
        self._current = self._read()

    def current(self) -> tuple[str, Ed25519PrivateKey]:
        """The key and its id; while the file can't be read, those of before."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            try:
                self._current = self._read()
            except SettingsError as problem:
                self._trouble.on(str(problem))
            else:
                self._trouble.over()
            self._stamp = stamp
        return self._current

    def _read(self) -> tuple[str, Ed25519PrivateKey]:
        key = read_private_key(self._path)
        return key_id(key.public_key()), key


class PublicKeys:
    """The public keys of all services, as their files have them now."""

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read all sets.

        Raises:
            SettingsError: one is missing or broken.
        """
        self._paths = {name: key_set_path(folder, name) for name in SYSTEM_SERVICES}
        self._folder = key_set_path(folder, "any").parent
        self._clock, self._ticks = clock, ticks
        self._troubles = {
            name: Trouble(f"public keys of {name} can't be read: the last are used", "read again")
            for name in SYSTEM_SERVICES
        }
        self._stamps: dict[str, _Stamp] = {}
        self._sets: dict[str, KeySet] = {}
        self._ended: set[str] = set()
        self._looked = self._ticks()
        self._folder_stamp = _stamp(self._folder)
        for service, path in self._paths.items():
            self._stamps[service] = _stamp(path)
            self._sets[service] = read_key_set(path)
        self._index()

    def find(self, kid: str) -> tuple[str, Ed25519PublicKey] | None:
        """Whose key this is, and the key; None where it is unknown, ended or revoked."""
        since = self._ticks() - self._looked
        patience = LOOK_SECONDS if kid in self._keys else UNKNOWN_LOOK_SECONDS
        if since >= patience or _stamp(self._folder) != self._folder_stamp:
            self._look()
        found = self._keys.get(kid)
        if found is None or kid in self._ended:
            return None
        service, key, until = found
        if until is not None and self._clock() >= until:
            self._ended.add(kid)  # also when the clock is set back
            return None
        return service, key

    def _look(self) -> None:
        self._looked = self._ticks()
        self._folder_stamp = _stamp(self._folder)
        for service, path in self._paths.items():
            stamp = _stamp(path)
            if stamp == self._stamps[service]:
                continue
            try:
                self._sets[service] = read_key_set(path)
            except SettingsError as problem:
                self._troubles[service].on(str(problem))
            else:
                self._troubles[service].over()
            self._stamps[service] = stamp
        self._index()

    def _index(self) -> None:
        self._keys = {
            key.kid: (service, key.key, key.until)
            for service, found in self._sets.items()
            for key in found.keys
            if key.kid not in found.revoked
        }
        self._ended &= set(self._keys)


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a file.

    Raises:
        SettingsError: it is missing or broken.
    """
    try:
        return load_private_key(read_bounded(path))
    except (OSError, ValueError, SettingsError) as problem:
        raise SettingsError(_unread(path, problem)) from problem


def read_key_set(path: Path) -> KeySet:
    """The public keys in a file.

    Raises:
        SettingsError: it is missing or broken.
    """
    try:
        return parse_key_set(read_bounded(path))
    except (OSError, ValueError) as problem:
        raise SettingsError(_unread(path, problem)) from problem


def _unread(path: Path, problem: Exception) -> str:
    reason = getattr(problem, "strerror", None) or str(problem)
    return f"can't read {path}: {reason.lower()}: run `python -m services.prepare`"


def _stamp(path: Path) -> _Stamp:
    """What changes whenever a file is replaced or written; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
