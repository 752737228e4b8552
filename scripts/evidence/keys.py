"""The signer's key: self-made on first use, a PEM file, or a securesystemslib signer URI."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.cli import ConfigurationError, ScriptError
from evidence.files import read_regular
from evidence.public_key import KEY_LIMIT_BYTES, PublicKey, from_crypto, load_public_key

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["self-signed", "provided"]
PASSWORD_ENV = "PROOF_PACK_KEY_PASSWORD"  # noqa: S105 - a variable's name, not a password
# Two letters at least: a single one is a drive of Windows.
_URI = re.compile(r"([a-z][a-z0-9+.-]+):(.+)", re.DOTALL)


@dataclass(frozen=True)
class SigningKey:
    """A key that signs evidence; the private part stays where it is.

    Args:
        public: the public half.
        kind: "self-signed" where this tool made the key, else "provided".
        public_path: where its public key is, for commands; None where no file is known.
    """

    public: PublicKey
    kind: Kind
    public_path: Path | None
    _sign: Callable[[bytes], bytes] = field(repr=False)

    @property
    def public_key_file(self) -> str:
        """The name of its public key file, as evidence: no folder of the signer's."""
        return self.public_path.name if self.public_path else "KEY.pub"

    @property
    def keyid(self) -> str:
        """Lower-case hex SHA-256 of the public key's DER."""
        return self.public.keyid

    @property
    def public_pem(self) -> bytes:
        """The public key as PEM."""
        return self.public.pem

    def sign(self, data: bytes) -> bytes:
        """The raw signature of `data`: DER for ECDSA P-256 over SHA-256, 64 bytes for Ed25519.

        Raises:
            ScriptError: the signer failed, or its signature does not fit the public key.
        """
        signature = self._sign(data)
        if not self.public.accepts(signature, data):
            raise ScriptError(
                f"expected a signature of key {self.keyid[:16]}, got one of another key: "
                "give the public key that belongs to --key"
            )
        return signature


def load_signer(uri_or_path: str | None, public_key: Path | None = None) -> SigningKey:
    """The key to sign with.

    The user's own key stays "self-signed" when it is named: nobody else vouches for it.

    Args:
        uri_or_path: a securesystemslib signer URI, the path of a PEM private key, or
            None for the user's own key, which is made on first use.
        public_key: the PEM public key that belongs to it; signers far away need it.

    Raises:
        ConfigurationError: unknown scheme, missing package, wrong or unreadable key.
    """
    if uri_or_path is None:
        from evidence.key_store import own_key

        path, public_path = own_key()
        return load_private_file(path, None, kind="self-signed", public_path=public_path)
    from evidence.key_store import own_keyids

    key = _load_named(uri_or_path, public_key)
    return replace(key, kind="self-signed") if key.keyid in own_keyids() else key


def _load_named(uri_or_path: str, public_key: Path | None) -> SigningKey:
    match = _URI.fullmatch(uri_or_path)
    if match is None:
        return load_private_file(Path(uri_or_path), public_key)
    from evidence.remote_keys import load_uri

    return load_uri(match[1], uri_or_path, public_key)


def load_private_file(
    path: Path,
    public_key: Path | None,
    *,
    kind: Kind = "provided",
    public_path: Path | None = None,
) -> SigningKey:
    """The key in a PEM private key file.

    Raises:
        ConfigurationError: missing, unreadable, encrypted with another password, of
            another kind, or not the private half of `public_key`.
    """
    private = read_private_key(path)
    public = from_crypto(private.public_key(), str(path))
    if public_key is not None and load_public_key(public_key).keyid != public.keyid:
        raise ConfigurationError(
            f"expected the private key of {public_key}, got another one in {path}: "
            "give the two halves of one key"
        )
    beside = path.with_suffix(".pub")
    known = public_key or public_path or (beside if beside.is_file() else None)
    return SigningKey(public, kind, known, _local_sign(private, public))


def read_private_key(path: Path) -> Any:  # noqa: ANN401 - any key type; the caller checks it
    """The parsed private key of a PEM file; `PROOF_PACK_KEY_PASSWORD` opens an encrypted one.

    Raises:
        ConfigurationError: missing, unreadable, or not a PEM private key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        pem = read_regular(path.resolve(), KEY_LIMIT_BYTES)
    except (ScriptError, OSError, RuntimeError) as problem:
        raise ConfigurationError(f"private key {path}: {problem}") from problem
    password = os.environ.get(PASSWORD_ENV) if b"ENCRYPTED" in pem else None
    try:
        return load_pem_private_key(pem, password.encode() if password else None)
    except TypeError as problem:
        raise ConfigurationError(
            f"private key {path} is encrypted: set {PASSWORD_ENV} to its password"
        ) from problem
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise ConfigurationError(
            f"private key {path}: expected a PEM private key (and its password in "
            f"{PASSWORD_ENV} where encrypted), got something else"
        ) from problem


def _local_sign(private: Any, public: PublicKey) -> Callable[[bytes], bytes]:  # noqa: ANN401 - checked by from_crypto
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    def sign(data: bytes) -> bytes:
        if public.algorithm == "ed25519":
            return bytes(private.sign(data))
        return bytes(private.sign(data, ECDSA(SHA256())))

    return sign
