"""The key files of the services: what is in them, where they are, how they are written.

`private/<service>/signing.pem` is for that service alone; `public/<service>.json` is a JWK
Set (RFC 7517, RFC 8037) for all. A key's id is made of the key itself, so that no file
name, and no word of a caller, decides which key it is.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.kit.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

KEY_ID = re.compile(r"[A-Za-z0-9_-]{43}\Z")
LARGEST_FILE_BYTES = 65_536
_FIXED = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig"}
_RAW_BYTES = 32


@dataclass(frozen=True)
class PublicKey:
    """One key that tokens may be signed with; from `until` (Unix seconds) on no longer."""

    kid: str
    key: Ed25519PublicKey
    until: float | None = None


@dataclass(frozen=True)
class KeySet:
    """The public keys of one service, and the ids of those that never count again."""

    keys: tuple[PublicKey, ...] = ()
    revoked: tuple[str, ...] = ()

    def find(self, kid: str) -> PublicKey | None:
        """The key of this id, whether its time has passed or not."""
        return next((key for key in self.keys if key.kid == kid), None)


def signing_key_path(folder: Path, service: str) -> Path:
    """Where a service's private key for tokens is."""
    return folder / "private" / service / "signing.pem"


def audit_key_path(folder: Path) -> Path:
    """Where the control-plane's key for audit bundles is: bundles outlive keys for tokens."""
    return folder / "private" / "control-plane" / "audit.pem"


def key_set_path(folder: Path, service: str) -> Path:
    """Where everybody reads a service's public keys."""
    return folder / "public" / f"{service}.json"


def key_id(key: Ed25519PublicKey) -> str:
    """The key's thumbprint. Source: RFC 7638, RFC 8037."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": _text(_raw(key))}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return _text(hashlib.sha256(canonical.encode("ascii")).digest())


def is_time(value: object) -> bool:
    """Whether a value of a JSON text may be Unix seconds: no bool, no NaN, nothing endless."""
    return type(value) in {int, float} and 0 <= value < 2**53  # type: ignore[operator]


def format_key_set(found: KeySet) -> bytes:
    """The JSON text of a set."""
    keys: list[dict[str, object]] = []
    for key in found.keys:
        end = {} if key.until is None else {"until": key.until}
        keys.append({**_FIXED, "kid": key.kid, "x": _text(_raw(key.key)), **end})
    return (json.dumps({"keys": keys, "revoked": list(found.revoked)}, indent=1) + "\n").encode()


def parse_key_set(content: bytes) -> KeySet:
    """The set that a file holds.

    Raises:
        ValueError: it is anything else, or an id is not the one of its key.
    """
    try:
        value = json.loads(content)
        keys = tuple(_public_key(item) for item in value["keys"])
        revoked = tuple(str(kid) for kid in value["revoked"])
    except (KeyError, TypeError, RecursionError) as problem:
        raise ValueError("expected a set of Ed25519 keys, got something else") from problem
    return KeySet(keys, revoked)


def load_private_key(pem: str | bytes) -> Ed25519PrivateKey:
    """Parse a private key.

    Raises:
        SettingsError: it is no Ed25519 key.
    """
    try:
        content = pem.encode("ascii") if isinstance(pem, str) else pem
        key = serialization.load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as problem:
        raise SettingsError("expected a private key in PEM, got something else") from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"expected an Ed25519 private key, got {type(key).__name__}")
    return key


def private_pem(key: Ed25519PrivateKey) -> bytes:
    """The PEM text of a private key."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def read_bounded(path: Path) -> bytes:
    """The content of a key file.

    Raises:
        ValueError: it is far too large to be one.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise ValueError(f"expected at most {LARGEST_FILE_BYTES} bytes, got more")
    return content


def write_private(path: Path, content: bytes) -> None:
    """Replace a private key; its folder's group may read it where it may read the folder.

    In containers that group is the service's own, and the folder's owner writes the keys.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = path.parent.stat()
    _replace(path, content, 0o640 if folder.st_mode & 0o010 else 0o600, folder.st_gid)


def write_public(path: Path, content: bytes) -> None:
    """Replace a public file, which everybody may read."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    _replace(path, content, 0o644, None)


def _replace(path: Path, content: bytes, mode: int, group: int | None) -> None:
    """Move a whole, synced file into place: a killed run leaves nothing half written."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        if group is not None and hasattr(os, "fchown") and os.fstat(handle).st_gid != group:
            os.fchown(handle, -1, group)
        file.write(content)
        file.flush()
        if hasattr(os, "fchmod"):  # whatever the umask
            os.fchmod(handle, mode)
        os.fsync(handle)
    part.replace(path)
    with contextlib.suppress(OSError):  # Windows opens no folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _public_key(item: Any) -> PublicKey:  # noqa: ANN401 - JSON
    wanted = {**_FIXED, "kid": item["kid"], "x": item["x"]}
    until = item.get("until")
    if {name: item.get(name) for name in wanted} != wanted or set(item) - {*wanted, "until"}:
        raise ValueError(f"expected members {sorted(wanted)} of an Ed25519 key, got others")
    if until is not None and not is_time(until):
        raise ValueError(f"until: expected seconds, got {until!r}")
    raw = base64.urlsafe_b64decode(f"{item['x']}=")
    if len(raw) != _RAW_BYTES:
        raise ValueError(f"x: expected {_RAW_BYTES} bytes, got {len(raw)}")
    key = Ed25519PublicKey.from_public_bytes(raw)
    if key_id(key) != item["kid"]:
        raise ValueError(f"kid: expected {key_id(key)}, got another one")
    return PublicKey(item["kid"], key, until)


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
