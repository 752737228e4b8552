"""The Ed25519 key pairs of the services: made by `services.prepare`, read at start."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.kit.settings import SYSTEM_SERVICES, SettingsError

if TYPE_CHECKING:
    from pathlib import Path


def make_key_pairs(folder: Path) -> None:
    """Make the pairs that are missing; a pair that is there is left alone.

    A key is moved into place whole, so that a killed run leaves none half written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for service in SYSTEM_SERVICES:
        private = folder / f"{service}.pem"
        if not private.exists():
            _write(private, _private_pem(Ed25519PrivateKey.generate()), 0o600)
        _write(folder / f"{service}.pub", public_pem(private.read_text("ascii")).encode(), 0o644)


def read_private_key(folder: Path, service: str) -> str:
    """The PEM text of a service's own private key.

    Raises:
        SettingsError: it is not there.
    """
    return _read(folder / f"{service}.pem")


@cache
def read_public_keys(folder: Path) -> dict[str, str]:
    """The PEM text of every service's public key, by service name.

    Raises:
        SettingsError: one of them is not there.
    """
    return {service: _read(folder / f"{service}.pub") for service in SYSTEM_SERVICES}


def load_private_key(pem: str) -> Ed25519PrivateKey:
    """Parse a private key.

    Raises:
        SettingsError: it is no Ed25519 key.
    """
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except ValueError as problem:
        raise SettingsError("expected a private key in PEM, got something else") from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"expected an Ed25519 private key, got {type(key).__name__}")
    return key


def load_public_key(pem: str) -> Ed25519PublicKey:
    """Parse a public key.

    Raises:
        SettingsError: it is no Ed25519 key.
    """
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except ValueError as problem:
        raise SettingsError("expected a public key in PEM, got something else") from problem
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"expected an Ed25519 public key, got {type(key).__name__}")
    return key


def public_pem(private_pem: str) -> str:
    """The PEM text of the public half of a private key."""
    return (
        load_private_key(private_pem)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode("ascii")
    )


def _private_pem(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise SettingsError(
            f"can't read {path}: {reason}: run `python -m services.prepare`"
        ) from problem
