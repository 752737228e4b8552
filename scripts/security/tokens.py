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

from security.places import NotHadError
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
        shape = str(token.get("template", "{token}"))
        if name := token.get("reuse"):
            return shape.replace("{token}", self._kept[name])
        signed = body
        if "body" in token:
            signed = b"" if token["body"] is None else json.dumps(token["body"]).encode()
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
        return shape.replace("{token}", text)

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
            "raw_path": path,
            "query": query,
            "body_digest": hashlib.sha256(body).hexdigest(),
        }

    def _encode(self, token: Mapping[str, Any], values: dict[str, Any]) -> str:
        owner = token.get("key", values["caller"])
        key = self._key(owner, token.get("sign", "own"))
        # Whoever forges a token copies the name of a real key.
        values["key_id"] = self._load(token.get("key_id", owner)).id
        header = {"alg": key.algorithm, "typ": "JWT", **self._plan.token_header}
        header = changed(fill_value(header, values), token.get("header", {}), values["now"])
        claims = fill_value(dict(self._plan.claims), values)
        claims = changed(claims, token.get("claims", {}), values["now"])
        first = f"{encode_json(header)}.{encode_json(claims)}"
        signature = encode_bytes(key.sign(first.encode()))
        if tampered := token.get("tamper"):
            claims = changed(claims, tampered, values["now"])
            first = f"{encode_json(header)}.{encode_json(claims)}"
        return f"{first}.{signature}"

    def _load(self, caller: str) -> Key:
        return Key.load(self._read(self._plan.private_key, caller))

    def _key(self, caller: str, sign: str) -> Key:
        if sign == "other":
            return Key.generate()
        if sign == "hmac_empty":
            return Key("HS256", lambda data: hmac.digest(b"", data, "sha256"))
        if sign in {"empty", "garbage"}:
            signature = b"" if sign == "empty" else GARBAGE
            return Key("none" if sign == "empty" else "EdDSA", lambda _: signature)
        own = self._load(caller)
        if sign == "own":
            return own
        return Key("HS256", lambda data: hmac.digest(own.public_pem, data, "sha256"))


class Key:
    """Something that signs, under the name that its algorithm has in tokens (RFC 7518)."""

    def __init__(
        self,
        algorithm: str,
        sign: Callable[[bytes], bytes],
        public_pem: bytes = b"",
        members: Mapping[str, str] | None = None,
    ) -> None:
        """See `load` and `generate`.

        Args:
            algorithm: its name.
            sign: makes the bytes of a signature.
            public_pem: the public half, for whoever takes it for a secret.
            members: the JSON Web Key that the thumbprint is made of (RFC 7638).
        """
        self.algorithm, self.sign, self.public_pem = algorithm, sign, public_pem
        self._members = dict(members or {})

    @property
    def id(self) -> str:
        """The thumbprint of the public key (RFC 7638)."""
        canonical = json.dumps(self._members, separators=(",", ":"), sort_keys=True)
        return encode_bytes(hashlib.sha256(canonical.encode("ascii")).digest())

    @classmethod
    def generate(cls) -> Key:
        """A fresh key that nobody knows."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls.of(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, pem: bytes) -> Key:
        """A private key in PEM.

        Raises:
            NotHadError: it is none of Ed25519 or P-256.
        """
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        return cls.of(load_pem_private_key(pem, password=None))

    @classmethod
    def of(cls, private: Any) -> Key:  # noqa: ANN401 - any private key of cryptography
        """A private key of cryptography: Ed25519 or P-256."""
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = private.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        if isinstance(private, ed25519.Ed25519PrivateKey):
            raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
            members = {"crv": "Ed25519", "kty": "OKP", "x": encode_bytes(raw)}
            return cls("EdDSA", private.sign, pem, members)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise NotHadError(f"expected a key of Ed25519 or P-256, got {type(private).__name__}")
        numbers = public.public_numbers()
        point = {name: encode_bytes(getattr(numbers, name).to_bytes(32, "big")) for name in "xy"}
        return cls("ES256", _ecdsa(private), pem, {"crv": "P-256", "kty": "EC", **point})


def _ecdsa(private: Any) -> Callable[[bytes], bytes]:  # noqa: ANN401
    """A signature as two numbers side by side (RFC 7518)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    def sign(data: bytes) -> bytes:
        pair = decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(32, "big") for number in pair)

    return sign


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
