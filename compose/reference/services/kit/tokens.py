"""Service tokens: signed, short-lived, each good for one request, once (G3a).

A JSON Web Token (RFC 7519) under EdDSA, and nothing that the standard allows besides:
the header's and the claims' names are fixed. docs/service-tokens.md is the format.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jwt import PyJWTError
from jwt.api_jws import PyJWS

from services.kit.keys import KEY_ID, is_time
from services.kit.settings import LEEWAY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from services.kit.keyring import PublicKeys, SigningKey
    from services.kit.nonces import NonceStore

ALGORITHM = "EdDSA"
TYPE = "service-token+jwt"
LIFETIME_SECONDS = 30.0
# Ours have 700 characters and what the path and the query add.
LONGEST_TOKEN = 8192
_JTI = re.compile(r"[0-9a-f]{32}\Z")
_CLAIMS = frozenset({"iss", "aud", "iat", "exp", "jti", "method", "path", "query", "body_sha256"})
_SIGNATURES = PyJWS(algorithms=[ALGORITHM])


class TokenRefusedError(Exception):
    """A service token that is not accepted; the reason is for the log, not for the caller."""


@dataclass(frozen=True)
class Target:
    """What a request asks for: path and query exactly as they are sent."""

    method: str
    path: str
    query: str = ""

    @classmethod
    def of(cls, method: str, path_and_query: str) -> Target:
        """The target of a request line, such as GET and /v1/items?limit=5."""
        path, _, query = path_and_query.partition("?")
        return cls(method.upper(), path, query)


@dataclass(frozen=True)
class Claims:
    """What a token says, once its signature, names and kinds were found good."""

    iss: str
    aud: str
    iat: float
    exp: float
    jti: str
    method: str
    path: str
    query: str
    body_sha256: str


class TokenSigner:
    """Issues tokens in the name of one service, each for one request."""

    def __init__(
        self, service: str, key: SigningKey, clock: Callable[[], float] = time.time
    ) -> None:
        """Take the service's name and its private key."""
        self._service = service
        self._key = key
        self._clock = clock

    def issue(self, audience: str, method: str, path_and_query: str, content: bytes = b"") -> str:
        """A token for one request to `audience`, useless for any other.

        Args:
            audience: the service that is asked.
            method: of the request.
            path_and_query: exactly as they will be sent.
            content: the bytes of the body.

        Source: G3a.
        """
        now = self._clock()
        target = Target.of(method, path_and_query)
        claims = {
            "iss": self._service,
            "aud": audience,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "jti": secrets.token_hex(16),
            "method": target.method,
            "path": target.path,
            "query": target.query,
            "body_sha256": hashlib.sha256(content).hexdigest(),
        }
        kid, key = self._key.current()
        payload = json.dumps(claims, separators=(",", ":")).encode("ascii")
        return _SIGNATURES.encode(payload, key, ALGORITHM, {"kid": kid, "typ": TYPE})


class TokenVerifier:
    """Accepts each token once, for this service, from a known service, while it is fresh."""

    def __init__(
        self,
        service: str,
        keys: PublicKeys,
        nonces: NonceStore,
        leeway_seconds: float = LEEWAY_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the name tokens must be addressed to, the callers' keys, and the store."""
        self._service = service
        self._keys = keys
        self._leeway_seconds = leeway_seconds
        self._clock = clock
        self.nonces = nonces

    def examine(self, token: str, target: Target) -> Claims:
        """Everything that can be checked before the body is read; it spends nothing.

        Raises:
            TokenRefusedError: with the reason.
        """
        claims = self._signed_claims(token)
        for name, got, expected in (
            ("aud", claims.aud, self._service),
            ("method", claims.method, target.method.upper()),
            ("path", claims.path, target.path),
            ("query", claims.query, target.query),
        ):
            if got != expected:
                raise TokenRefusedError(f"{name}: expected {expected[:100]!r}, got {got[:100]!r}")
        self._check_times(claims)
        return claims

    def accept(self, claims: Claims, body_sha256: str) -> str:
        """The name of the service whose token these claims are; the token is spent.

        Raises:
            TokenRefusedError: with the reason.
            NonceStoreError: it can't be known whether it was used before.

        Source: G3a.
        """
        # Again: while a body trickled in, the time may have passed in which nonces are kept.
        self._check_times(claims)
        if claims.body_sha256 != body_sha256:
            raise TokenRefusedError("body_sha256: expected the one of the body, got another")
        seconds = claims.exp + self._leeway_seconds - self._clock()
        outcome = self.nonces.spend(bytes.fromhex(claims.jti), claims.iat, seconds)
        if outcome == "spent":
            raise TokenRefusedError("jti: this token was used before")
        if outcome == "too old":
            raise TokenRefusedError("iat: expected after the replay store was made, got before")
        return claims.iss

    def verify(self, token: str, target: Target, content: bytes = b"") -> str:
        """`examine` and `accept` for a request whose body is there."""
        claims = self.examine(token, target)
        return self.accept(claims, hashlib.sha256(content).hexdigest())

    def _signed_claims(self, token: str) -> Claims:
        if len(token) > LONGEST_TOKEN:
            raise TokenRefusedError(f"expected at most {LONGEST_TOKEN} characters, got more")
        kid = _key_id(token)
        found = self._keys.find(kid)
        if found is None:
            raise TokenRefusedError(f"kid: expected a key that is in use, got {kid}")
        service, key = found
        try:
            payload = _SIGNATURES.decode(token, key, [ALGORITHM])
        except (PyJWTError, ValueError) as problem:
            raise TokenRefusedError(f"not a valid token: {problem}") from problem
        claims = _claims(payload)
        if claims.iss != service:
            raise TokenRefusedError(f"iss: expected {service}, whose key it is, got another")
        return claims

    def _check_times(self, claims: Claims) -> None:
        now = self._clock()
        if claims.iat > now + self._leeway_seconds:
            raise TokenRefusedError("iat: expected not in the future")
        if claims.exp <= claims.iat:
            raise TokenRefusedError("exp: expected after iat")
        if not now - self._leeway_seconds < claims.exp <= claims.iat + LIFETIME_SECONDS:
            raise TokenRefusedError(
                f"exp: expected not passed, and {LIFETIME_SECONDS:g} s after iat"
            )


def _key_id(token: str) -> str:
    """The key that the header names; nothing but our header is looked at any further."""
    try:
        content = base64.urlsafe_b64decode(token.partition(".")[0] + "==")
        header = json.loads(content, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as problem:
        raise TokenRefusedError(f"header: not valid: {problem}") from problem
    kid = header.get("kid") if isinstance(header, dict) else None
    # Compared as a whole: no crit, b64, jku, jwk or x5u, whatever the library would do.
    if header != {"alg": ALGORITHM, "typ": TYPE, "kid": kid}:
        raise TokenRefusedError(f"header: expected alg {ALGORITHM}, typ {TYPE} and kid only")
    if not isinstance(kid, str) or not KEY_ID.match(kid):
        raise TokenRefusedError("kid: expected a thumbprint")
    return kid


def _claims(payload: bytes) -> Claims:
    try:
        found = json.loads(payload, object_pairs_hook=_unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as problem:
        raise TokenRefusedError(f"claims: {problem}") from problem
    if not isinstance(found, dict) or found.keys() != _CLAIMS:
        raise TokenRefusedError(f"claims: expected exactly {', '.join(sorted(_CLAIMS))}")
    for name in _CLAIMS:
        _check_kind(name, found[name])
    return Claims(**found)


def _check_kind(name: str, value: object) -> None:
    if name in {"iat", "exp"}:
        if not is_time(value):
            raise TokenRefusedError(f"{name}: expected a number")
    elif not isinstance(value, str):
        raise TokenRefusedError(f"{name}: expected a text")
    elif name == "jti" and not _JTI.match(value):
        raise TokenRefusedError("jti: expected 32 hex digits")


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("expected each name once, got one twice")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"expected a number, got {text}")
