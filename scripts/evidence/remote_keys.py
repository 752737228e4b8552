"""Keys behind a securesystemslib signer URI: files, cloud KMS, Vault, hardware tokens."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError, ScriptError
from evidence.keys import SigningKey, load_private_file
from evidence.public_key import from_crypto, load_public_key, parse_public_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from evidence.public_key import PublicKey

PIN_ENV = "PROOF_PACK_KEY_PIN"
# Scheme: the extra of securesystemslib that brings its client library.
_EXTRAS = {
    "file2": "crypto",
    "awskms": "awskms",
    "gcpkms": "gcpkms",
    "azurekms": "azurekms",
    "hv": "vault",
    "hsm": "hsm",
}
_SCHEMES = {"ecdsa-p256": "ecdsa-sha2-nistp256", "ed25519": "ed25519"}


def load_uri(scheme: str, uri: str, public_key: Path | None) -> SigningKey:
    """The key behind a signer URI.

    Raises:
        ConfigurationError: unknown scheme, missing package, no public key, or a
            signer that can't be reached: one line that says what to do.
    """
    _check_scheme(scheme)
    if scheme == "file2":
        # The same file gives the public half, so that --public-key is not needed.
        from pathlib import Path

        folder = os.environ.get("CRYPTO_SIGNER_PATH_PREFIX", "")
        local = load_private_file(Path(folder, uri.removeprefix("file2:")), public_key)
        public, public_path = local.public, local.public_path
    else:
        public = load_public_key(public_key) if public_key else _fetch_public_key(scheme, uri)
        public_path = public_key
    return SigningKey(public, "provided", public_path, _remote_sign(scheme, uri, public))


def _check_scheme(scheme: str) -> None:
    if scheme == "gnupg":
        # OpenPGP signs the data with a trailer of its own, which openssl and cosign don't know.
        raise ConfigurationError(
            "gnupg: signatures can't be checked with openssl or cosign: "
            f"expected one of {', '.join(_EXTRAS)}"
        )
    if scheme not in _EXTRAS:
        raise ConfigurationError(
            f"unknown key scheme {scheme!r}: expected a PEM file or one of {', '.join(_EXTRAS)}"
        )


def _fetch_public_key(scheme: str, uri: str) -> PublicKey:
    imports: dict[str, Callable[[Any, str], tuple[str, Any]]] = {
        "awskms": lambda signer, rest: signer.AWSSigner.import_(rest),
        "gcpkms": lambda signer, rest: signer.GCPSigner.import_(rest),
        "hv": lambda signer, rest: signer.VaultSigner.import_(rest.split("/")[0]),
    }
    if scheme not in imports:
        raise ConfigurationError(f"{uri}: expected its public key too: give --public-key KEY.pub")
    import securesystemslib.signer as library

    rest = uri.partition(":")[2]
    key = _ask(scheme, uri, lambda: imports[scheme](library, rest)[1])
    value = str(key.keyval["public"])
    if key.keytype == "ed25519" and "BEGIN" not in value:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(value)), uri)
    return parse_public_key(value.encode(), uri)


def _remote_sign(scheme: str, uri: str, public: PublicKey) -> Callable[[bytes], bytes]:
    from securesystemslib.signer._key import SSlibKey
    from securesystemslib.signer._signer import Signer

    def make() -> Signer:
        key = SSlibKey.from_crypto(public.key, public.keyid, _SCHEMES[public.algorithm])
        return Signer.from_priv_key_uri(uri, key, _pin)

    signer = _ask(scheme, uri, make)

    def sign(data: bytes) -> bytes:
        signature = _ask(scheme, uri, lambda: signer.sign(data).signature)
        return bytes.fromhex(str(signature))

    return sign


def _pin(_name: str) -> str:
    pin = os.environ.get(PIN_ENV)
    if not pin:
        raise ConfigurationError(f"the token wants a PIN: set {PIN_ENV}")
    return pin


def _ask(scheme: str, uri: str, call: Callable[[], Any]) -> Any:  # noqa: ANN401 - the edge to client libraries
    from securesystemslib.exceptions import UnsupportedLibraryError

    try:
        return call()
    except ScriptError:
        raise
    except (UnsupportedLibraryError, ImportError) as problem:
        raise ConfigurationError(
            f"{scheme}: needs a package that is not installed: "
            f"pip install 'securesystemslib[{_EXTRAS[scheme]}]'"
        ) from problem
    except Exception as problem:  # each client library raises its own kinds
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise ConfigurationError(f"the signer {uri} failed: {reason[:300]}") from problem
