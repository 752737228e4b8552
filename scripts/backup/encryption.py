"""Encryption of an archive: AES-256-GCM in chunks that can't be cut, swapped, doubled or dropped.

The file is `magic | salt | key check | chunks`. Each chunk is 1 MiB of the archive and a tag of
16 bytes; its nonce is its number and a flag that only the last has (the STREAM construction),
and the header is authenticated with it. The archive's key comes from the user's by HKDF-SHA-256
with a random salt, so that numbers as nonces never meet the same key twice.

Source: Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance" (2015); RFC 5869.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from typing import TYPE_CHECKING, Protocol

from backup.errors import DamagedError
from common.cli import ConfigurationError, ScriptError

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"PPCRYPT\x01"
CHUNK_BYTES = 1 << 20
_SALT_BYTES, _CHECK_BYTES, _TAG_BYTES = 32, 16, 16
HEADER_BYTES = len(MAGIC) + _SALT_BYTES + _CHECK_BYTES
KEY_LEAST_BYTES = 32
_KEY_LIMIT_BYTES = 1 << 16


class Writable(Protocol):
    """What an archive is written to."""

    def write(self, data: bytes, /) -> object:
        """Take all of it."""


class Source(Protocol):
    """What an archive is read from; bytes past the end are not there."""

    size: int

    def read_at(self, offset: int, length: int) -> bytes:
        """The bytes from `offset` on, at most `length`; fewer only at the end."""


def read_key(path: Path) -> bytes:
    """The secret that archives are encrypted with.

    Raises:
        ConfigurationError: missing, too short, or not only its owner's.
    """
    from evidence.files import read_regular

    try:
        key = read_regular(path, _KEY_LIMIT_BYTES)
        mode = path.stat().st_mode
    except (ScriptError, OSError) as problem:
        raise ConfigurationError(f"--encrypt-key {path}: {problem}") from problem
    if os.name != "nt" and stat.S_IMODE(mode) & 0o077:
        raise ConfigurationError(
            f"--encrypt-key {path}: expected the mode 0600, got {stat.S_IMODE(mode):04o}: chmod it"
        )
    if len(key) < KEY_LEAST_BYTES:
        raise ConfigurationError(
            f"--encrypt-key {path}: expected at least {KEY_LEAST_BYTES} random bytes, "
            f"got {len(key)}: make one with `head -c 32 /dev/urandom`"
        )
    return key


class EncryptingWriter:
    """Encrypts what is written; the archive ends with `close`, and is damaged without."""

    def __init__(self, target: Writable, key: bytes) -> None:
        """See the module."""
        salt = secrets.token_bytes(_SALT_BYTES)
        self._cipher, check = _derived(key, salt)
        self._header = MAGIC + salt + check
        self._target, self._number, self._rest = target, 0, bytearray()
        target.write(self._header)

    def write(self, data: bytes, /) -> int:
        """Take `data`; the last chunk is kept back, because only `close` knows that it is it."""
        self._rest += data
        while len(self._rest) > CHUNK_BYTES:
            self._put(bytes(self._rest[:CHUNK_BYTES]), last=False)
            del self._rest[:CHUNK_BYTES]
        return len(data)

    def close(self) -> None:
        """Write the last chunk."""
        self._put(bytes(self._rest), last=True)

    def _put(self, chunk: bytes, *, last: bool) -> None:
        nonce = _nonce(self._number, last=last)
        self._target.write(self._cipher.encrypt(nonce, chunk, self._header))
        self._number += 1


class EncryptedSource:
    """The archive inside an encrypted file; only authenticated bytes are ever returned.

    Raises:
        DamagedError: a chunk is not what was written, or not where it was.
        ConfigurationError: another key.
    """

    def __init__(self, inner: Source, key: bytes) -> None:
        """See the class."""
        self._inner, self._key = inner, key
        self._header = inner.read_at(0, HEADER_BYTES)
        body = inner.size - HEADER_BYTES
        self._chunks = -(-body // (CHUNK_BYTES + _TAG_BYTES))
        if body < _TAG_BYTES or not self._header.startswith(MAGIC):
            raise DamagedError("damaged: expected an encrypted archive, got a part of its header")
        self._cipher, check = _derived(key, self._header[len(MAGIC) : len(MAGIC) + _SALT_BYTES])
        if not hmac.compare_digest(check, self._header[-_CHECK_BYTES:]):
            raise ConfigurationError(
                "expected the key that the archive was encrypted with, got another one "
                "(or its first 56 bytes are damaged)"
            )
        self.size = body - self._chunks * _TAG_BYTES
        self._kept: tuple[int, bytes] = (-1, b"")

    def read_at(self, offset: int, length: int) -> bytes:
        """Decrypted bytes; fewer only at the end."""
        found = bytearray()
        while len(found) < length and offset + len(found) < self.size:
            number, within = divmod(offset + len(found), CHUNK_BYTES)
            found += self._chunk(number)[within : within + length - len(found)]
        return bytes(found)

    def _chunk(self, number: int) -> bytes:
        from cryptography.exceptions import InvalidTag

        if self._kept[0] == number:
            return self._kept[1]
        step = CHUNK_BYTES + _TAG_BYTES
        sealed = self._inner.read_at(HEADER_BYTES + number * step, step)
        try:
            nonce = _nonce(number, last=number == self._chunks - 1)
            chunk = self._cipher.decrypt(nonce, sealed, self._header)
        except (InvalidTag, ValueError) as problem:
            raise DamagedError(
                f"damaged: chunk {number + 1} of {self._chunks} of the encrypted archive was "
                "changed, moved or cut (the key is the right one)"
            ) from problem
        self._kept = (number, chunk)
        return chunk


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _derived(key: bytes, salt: bytes) -> tuple[AESGCM, bytes]:
    """The cipher of an archive, and what tells this key from others; it says nothing about it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    length = 32 + _CHECK_BYTES
    made = HKDF(SHA256(), length=length, salt=salt, info=b"proof-pack backup " + MAGIC).derive(key)
    return AESGCM(made[:32]), made[32:]
