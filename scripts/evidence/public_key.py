"""The public key that a reader brings: ECDSA P-256 or Ed25519, nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from common.cli import ConfigurationError, ScriptError
from evidence.files import read_regular

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Algorithm = Literal["ecdsa-p256", "ed25519"]
KEY_LIMIT_BYTES = 64 << 10
WORDS: dict[Algorithm, str] = {
    "ecdsa-p256": "an ECDSA P-256 signature over SHA-256",
    "ed25519": "an Ed25519 signature",
}


@dataclass(frozen=True)
class PublicKey:
    """A public key whose type openssl and cosign both verify.

    Args:
        key: the parsed key.
        algorithm: what signatures it makes.
        keyid: lower-case hex SHA-256 of the DER SubjectPublicKeyInfo.
        pem: the key as PEM text.
    """

    key: EllipticCurvePublicKey | Ed25519PublicKey
    algorithm: Algorithm
    keyid: str
    pem: bytes

    def accepts(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` (DER for ECDSA, 64 raw bytes for Ed25519) is this key's on `data`.

        From an ECDSA signature (r, s) anyone can make (r, n - s), which fits the same data.
        It is accepted: OpenSSL, cosign and every KMS write either one, so that asking for
        the smaller s would refuse half of all honest signatures. Nothing rests on the bytes
        of a signature: it is not signed itself, and it says nothing but yes.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            if isinstance(self.key, Ed25519PublicKey):
                self.key.verify(signature, data)
            else:
                self.key.verify(signature, data, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


def from_crypto(key: object, name: str) -> PublicKey:
    """Wrap a parsed public key.

    Raises:
        ConfigurationError: it is neither P-256 nor Ed25519; `name` says which key.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    algorithm: Algorithm
    if isinstance(key, Ed25519PublicKey):
        algorithm = "ed25519"
    elif isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        algorithm = "ecdsa-p256"
    else:
        raise ConfigurationError(
            f"{name}: expected an ECDSA P-256 or Ed25519 key, got {_describe(key)}: "
            "make one with `python scripts/sign_transcript.py keygen`"
        )
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    pem = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return PublicKey(key, algorithm, hashlib.sha256(der).hexdigest(), pem)


def _describe(key: object) -> str:
    curve = getattr(getattr(key, "curve", None), "name", "")
    kind = type(key).__name__.lstrip("_").removesuffix("PublicKey").removesuffix("PrivateKey")
    return f"{kind} {curve}".strip()


def parse_public_key(pem: bytes, name: str) -> PublicKey:
    """The public key in PEM bytes.

    Raises:
        ConfigurationError: not a PEM public key, or of another kind.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY" in pem:
        raise ConfigurationError(
            f"{name}: expected a public key, got a private one: keep it secret"
        )
    try:
        return from_crypto(load_pem_public_key(pem), name)
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise ConfigurationError(
            f"{name}: expected a PEM public key, got something else: give the signer's KEY.pub"
        ) from problem


def load_public_key(path: Path) -> PublicKey:
    """The public key in a PEM file.

    Raises:
        ConfigurationError: missing, unreadable, not a PEM public key, or of another kind.
    """
    try:
        # The reader's own path may be a link: only files of the bundle may not.
        pem = read_regular(path.resolve(), KEY_LIMIT_BYTES)
    except (ScriptError, OSError, RuntimeError) as problem:
        raise ConfigurationError(f"public key {path}: {problem}") from problem
    return parse_public_key(pem, str(path))
