"""Service tokens as an attacker makes them: every part as a case says, signed or not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from stack.placeholders import fill_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from security.model import ServiceTokens

GARBAGE = bytes(64)


class Forger:
    """Makes tokens in the name of any caller whose private key can be read.

    Args:
        plan: how the system's tokens look.
        read_key: the bytes of a caller's key file: (places by runtime, caller).
        clock: the time in tokens.
    """

    def __init__(
        self,
        plan: ServiceTokens,
        read_key: Callable[[Mapping[str, str], str], bytes],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """No key is read before it is needed."""
        self._plan, self._read, self._clock = plan, read_key, clock
        self._kept: dict[str, str] = {}
        self.issued: set[str] = set()

    def forge(
        self, token: Mapping[str, Any], audience: str, method: str, target: str, body: bytes
    ) -> str:
        """The text of a token for one request.

        Args:
            token: `token` of a request in a corpus.
            audience: the service that the request goes to.
            method: of the request.
            target: its path and query, as sent.
            body: its body, as sent.

        Raises:
            ScriptError: the key of the caller can't be had.
        """
        if name := token.get("reuse"):
            return self._kept[name]
        signed = token.get("body", body)
        signed = signed if isinstance(signed, bytes) else json.dumps(signed).encode()
        values = self._values(
            token["caller"],
            token.get("audience", audience),
            token.get("method", method),
            token.get("path", target),
            signed,
        )
        text = self._encode(token, values)
        self.issued.add(text)
        if name := token.get("keep"):
            self._kept[name] = text
        return text

    def _values(
        self, caller: str, audience: str, method: str, target: str, body: bytes
    ) -> dict[str, Any]:
        path, _, query = target.partition("?")
        now = self._clock()
        return {
            "caller": caller,
            "audience": audience,
            "now": now,
            "expires": now + self._plan.lifetime_seconds,
            "nonce": secrets.token_hex(16),
            "method": method.upper(),
            "path": unquote(path),
            "query": query,
            "target": target,
            "body_sha256": hashlib.sha256(body).hexdigest(),
        }

    def _encode(self, token: Mapping[str, Any], values: dict[str, Any]) -> str:
        key = self._key(token.get("key", values["caller"]), token.get("sign", "own"))
        values["key_id"] = key_id(key)
        header = {"alg": key.algorithm, "typ": "JWT", **self._plan.token_header}
        header = changed(fill_value(header, values), token.get("header", {}), values["now"])
        claims = fill_value(dict(self._plan.claims), values)
        claims = changed(claims, token.get("claims", {}), values["now"])
        first = f"{encode_json(header)}.{encode_json(claims)}"
        signature = encode_bytes(key.sign(first.encode()))
        if tampered := token.get("tamper"):
            claims = changed(claims, tampered, values["now"])
            first = f"{encode_json(header)}.{encode_json(claims)}"
        text = f"{first}.{signature}"
        return str(token.get("template", "{token}")).replace("{token}", text)

    def _key(self, caller: str, sign: str) -> Key:
        if sign == "other":
            return Key.generate()
        if sign == "hmac_empty":
            return Key("HS256", lambda data: hmac.digest(b"", data, "sha256"))
        if sign in {"empty", "garbage"}:
            signature = b"" if sign == "empty" else GARBAGE
            return Key("none" if sign == "empty" else "EdDSA", lambda _: signature)
        own = Key.load(self._read(self._plan.private_key, caller))
        if sign == "own":
            return own
        public = own.public_pem or b""
        return Key("HS256", lambda data: hmac.digest(public, data, "sha256"))


class Key:
    """Something that signs, under the name that its algorithm has in tokens (RFC 7518)."""

    def __init__(
        self, algorithm: str, sign: Callable[[bytes], bytes], public_pem: bytes | None = None
    ) -> None:
        """See `load` and `generate`."""
        self.algorithm, self.sign, self.public_pem = algorithm, sign, public_pem

    @classmethod
    def generate(cls) -> Key:
        """A fresh key that nobody knows."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls.of(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, pem: bytes) -> Key:
        """A private key in PEM."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        return cls.of(load_pem_private_key(pem, password=None))

    @classmethod
    def of(cls, private: Any) -> Key:  # noqa: ANN401 - any private key of cryptography
        """A private key of cryptography: Ed25519, P-256 or RSA."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return cls("EdDSA", private.sign, public)
        if isinstance(private, ec.EllipticCurvePrivateKey):

            def sign(data: bytes) -> bytes:
                pair = decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA256())))
                return b"".join(number.to_bytes(32, "big") for number in pair)

            return cls("ES256", sign, public)
        return cls(
            "RS256", lambda data: private.sign(data, padding.PKCS1v15(), hashes.SHA256()), public
        )


def key_id(key: Key) -> str:
    """The first 16 hex digits of the SHA-256 of the public key's DER; "" without one."""
    if not key.public_pem:
        return ""
    lines = key.public_pem.decode("ascii").splitlines()[1:-1]
    return hashlib.sha256(base64.b64decode("".join(lines))).hexdigest()[:16]


def changed(base: Mapping[str, Any], change: Mapping[str, Any], now: float) -> dict[str, Any]:
    """`base` with members set, taken away (null), or moved in time ({seconds: n})."""
    found = dict(base)
    for name, value in change.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, dict) and [*value] == ["seconds"]:
            found[name] = now + value["seconds"]
        else:
            found[name] = value
    return found


def encode_json(value: object) -> str:
    """base64url of compact JSON, without padding."""
    return encode_bytes(json.dumps(value, separators=(",", ":")).encode())


def encode_bytes(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
