"""Makes, rotates and revokes the services' keys, in an order in which a kill harms nothing.

A new key is published first, then signed with, and only then gets the old one an end:
whoever verifies knows every key that anybody signs with. Services notice by themselves.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.kit.keyring import LOOK_SECONDS, read_key_set, read_private_key
from services.kit.keys import (
    KeySet,
    PublicKey,
    audit_key_path,
    format_key_set,
    key_id,
    key_set_path,
    private_pem,
    signing_key_path,
    write_private,
    write_public,
)
from services.kit.locks import exclusive
from services.kit.settings import SYSTEM_SERVICES, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

OVERLAP_SECONDS = 300.0
# Until then every service that verifies has looked at the public keys again.
PUBLISHED_SECONDS = 2 * LOOK_SECONDS
_MOST_REVOKED = 1000


@dataclass(frozen=True)
class Rotation:
    """One service's new key, and the ids of those that have an end now."""

    service: str
    kid: str
    ending: tuple[str, ...]


def make_keys(folder: Path) -> None:
    """Make what is missing and finish what a killed run began; a good pair is left alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(folder):
        for service in SYSTEM_SERVICES:
            found = _read_or_empty(folder, service)
            current = _current(folder, service)
            if current is None or current.kid in found.revoked:
                current = _sign_with(folder, service, Ed25519PrivateKey.generate())
            _settle(folder, service, found, current)
        _make_audit_key(folder)


def rotate(folder: Path, services: Iterable[str], overlap_seconds: float) -> list[Rotation]:
    """Give each service a new key; the old ones are accepted for `overlap_seconds` more.

    Raises:
        SettingsError: keys are missing or broken.
    """
    with _locked(folder):
        fresh = {service: Ed25519PrivateKey.generate() for service in services}
        sets = {service: read_key_set(key_set_path(folder, service)) for service in fresh}
        for service, key in fresh.items():
            public = _public(key)
            sets[service] = replace(sets[service], keys=(*sets[service].keys, public))
            _publish(folder, service, sets[service])
        time.sleep(PUBLISHED_SECONDS)
        return [
            _settle(folder, name, sets[name], _sign_with(folder, name, key), overlap_seconds)
            for name, key in fresh.items()
        ]


def revoke(folder: Path, kid: str) -> Rotation:
    """Have a key refused at once and for ever; its owner gets a new one if it signs with it.

    Requests that are under way with the revoked key fail: that is what it is for.

    Raises:
        SettingsError: nobody has such a key.
    """
    with _locked(folder):
        for service in SYSTEM_SERVICES:
            found = read_key_set(key_set_path(folder, service))
            if found.find(kid) is None and kid not in found.revoked:
                continue
            current = _current(folder, service)
            # The new key comes first: after a kill in between, this is simply run again.
            if current is None or current.kid == kid:
                current = _sign_with(folder, service, Ed25519PrivateKey.generate())
            revoked = tuple(dict.fromkeys((*found.revoked, kid)))[-_MOST_REVOKED:]
            return _settle(folder, service, replace(found, revoked=revoked), current)
    raise SettingsError(f"no service has a key {kid[:60]!r}: see --list")


def _settle(
    folder: Path,
    service: str,
    found: KeySet,
    current: PublicKey,
    overlap_seconds: float = OVERLAP_SECONDS,
) -> Rotation:
    """Publish the key that signs, give all others an end, drop those that had theirs."""
    now = time.time()
    end = now + overlap_seconds
    keys = [
        replace(key, until=end if key.until is None else min(key.until, end))
        for key in found.keys
        if key.kid != current.kid
        and key.kid not in found.revoked
        and (key.until is None or key.until > now)
    ]
    _publish(folder, service, KeySet((current, *keys), found.revoked))
    return Rotation(service, current.kid, tuple(key.kid for key in keys))


def _sign_with(folder: Path, service: str, key: Ed25519PrivateKey) -> PublicKey:
    write_private(signing_key_path(folder, service), private_pem(key))
    return _public(key)


def _publish(folder: Path, service: str, found: KeySet) -> None:
    path, content = key_set_path(folder, service), format_key_set(found)
    with suppress(OSError):
        if path.read_bytes() == content:
            return
    write_public(path, content)


def _public(key: Ed25519PrivateKey) -> PublicKey:
    return PublicKey(key_id(key.public_key()), key.public_key())


def _current(folder: Path, service: str) -> PublicKey | None:
    """The key that a service signs with; None where there is none, or only a broken one."""
    path = signing_key_path(folder, service)
    try:
        return _public(read_private_key(path)) if path.exists() else None
    except SettingsError as problem:
        print(f"warning: {problem}: made anew", file=sys.stderr)
        return None


def _read_or_empty(folder: Path, service: str) -> KeySet:
    path = key_set_path(folder, service)
    try:
        return read_key_set(path) if path.exists() else KeySet()
    except SettingsError as problem:
        print(f"warning: {problem}: made anew", file=sys.stderr)
        return KeySet()


def _make_audit_key(folder: Path) -> None:
    """A key of its own, which no rotation replaces; bundles of before it had one stay good."""
    path, former = audit_key_path(folder), folder / "control-plane.pem"
    if path.exists():
        return
    key = read_private_key(former) if former.exists() else Ed25519PrivateKey.generate()
    write_private(path, private_pem(key))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One run at a time."""
    path = key_set_path(folder, "any").with_name(".lock")
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with exclusive(path):
        yield
