"""Make key pairs: the user's own on first use, and those of `sign_transcript.py keygen`."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from typing import TYPE_CHECKING

from common.cli import ConfigurationError, UsageError
from common.folders import CONFIGURATION_VARIABLE, configuration_folder
from evidence.public_key import from_crypto, load_public_key

if TYPE_CHECKING:
    from pathlib import Path

    from evidence.public_key import Algorithm

PRIVATE_NAME = "signing-key.pem"
PUBLIC_NAME = "signing-key.pub"
_LOCK_SECONDS = 30


def own_key() -> tuple[Path, Path]:
    """The user's own key pair (private, public), made on first use.

    Safe when several processes come first at once: one makes it, the others wait.

    Raises:
        ConfigurationError: the folder can't be written, or others may read the key.
    """
    folder = configuration_folder()
    private, public = folder / PRIVATE_NAME, folder / PUBLIC_NAME
    try:
        if not (os.path.lexists(private) and public.is_file()):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _complete(folder, private, public)
        _check_mode(private)
    except OSError as problem:
        raise ConfigurationError(
            f"can't keep a signing key in {folder}: {(problem.strerror or str(problem)).lower()}: "
            f"set {CONFIGURATION_VARIABLE} to a folder of yours, or give --key"
        ) from problem
    return private, public


def own_keyids() -> set[str]:
    """The key ids of the user's own pair, as far as there is one; nothing is made.

    Both halves are asked, because either may have been removed or replaced.
    """
    from evidence.keys import read_private_key

    folder = configuration_folder()
    private, public = folder / PRIVATE_NAME, folder / PUBLIC_NAME
    found = set()
    if os.path.lexists(private):
        with contextlib.suppress(ConfigurationError):
            found.add(from_crypto(read_private_key(private).public_key(), str(private)).keyid)
    if os.path.lexists(public):
        with contextlib.suppress(ConfigurationError):
            found.add(load_public_key(public).keyid)
    return found


def _complete(folder: Path, private: Path, public: Path) -> None:
    from filelock import FileLock, Timeout

    from evidence.keys import read_private_key

    try:
        with FileLock(folder / "signing-key.lock", timeout=_LOCK_SECONDS):
            if not os.path.lexists(private):
                write_new(private, new_private_pem("ecdsa-p256"), 0o600)
            _check_mode(private)
            if not public.is_file():
                pem = from_crypto(read_private_key(private).public_key(), str(private)).pem
                write_new(public, pem, 0o644)
    except Timeout as problem:
        raise ConfigurationError(
            f"{folder} stayed locked for {_LOCK_SECONDS} s: end the process that holds it"
        ) from problem


def _check_mode(private: Path) -> None:
    mode = stat.S_IMODE(private.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        raise ConfigurationError(
            f"{private}: expected mode 0600, got {mode:04o}: "
            "others may have read it, so delete it and a new one is made"
        )


def new_private_pem(algorithm: Algorithm) -> bytes:
    """A new private key as unencrypted PKCS #8 PEM."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if algorithm == "ed25519":
        key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet; nobody ever sees a part of it.

    Raises:
        OSError: it exists already (FileExistsError), or can't be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(draft, flags, mode)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(handle)
        _move_new(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _move_new(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        # No hard links on this file system: the callers' lock is what is left.
        if os.path.lexists(path):
            raise
        draft.replace(path)


def make_pair(stem: Path, algorithm: Algorithm) -> tuple[Path, Path]:
    """Write a new pair `<stem>.pem` (mode 0600) and `<stem>.pub`.

    Raises:
        UsageError: one of the two exists already, or the folder can't be written.
    """
    private, public = (stem.with_name(stem.name + end) for end in (".pem", ".pub"))
    for path in (private, public):
        if os.path.lexists(path):
            raise UsageError(f"{path} exists already: name another --output, no key is replaced")
    pem = new_private_pem(algorithm)
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        write_new(private, pem, 0o600)
        write_new(public, from_crypto(load_pem_private_key(pem, None).public_key(), "").pem, 0o644)
    except OSError as problem:
        raise UsageError(f"can't write {stem}: {(problem.strerror or '').lower()}") from problem
    return private, public
