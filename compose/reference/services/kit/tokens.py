"""Service tokens between services, and the client token at the front door (G3a, simple form)."""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import jwt

from services.kit.keys import load_private_key, load_public_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ALGORITHM = "EdDSA"
LIFETIME_SECONDS = 30.0
LEEWAY_SECONDS = 5.0
# Far above what six services send in 35 s; full means refused, never forgotten.
NONCE_LIMIT = 200_000
_NONCE_LENGTH = 32
_CLAIMS = ("iss", "aud", "iat", "exp", "jti", "method", "path")


class TokenRefusedError(Exception):
    """A service token that is not accepted; the reason is for the log, not for the caller."""


class TokenSigner:
    """Issues tokens in the name of one service, each for one request."""

    def __init__(
        self, service: str, private_key_pem: str, clock: Callable[[], float] = time.time
    ) -> None:
        """Take the service's name and its Ed25519 private key."""
        self._service = service
        self._key = load_private_key(private_key_pem)
        self._clock = clock

    def issue(self, audience: str, method: str, path: str) -> str:
        """A token for one request to `audience`, useless for any other.

        Source: G3a.
        """
        now = self._clock()
        claims = {
            "iss": self._service,
            "aud": audience,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
            "jti": secrets.token_hex(_NONCE_LENGTH // 2),
            "method": method.upper(),
            "path": signed_path(path),
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM)


class TokenVerifier:
    """Accepts each token once, for this service, from a known service, while it is fresh."""

    def __init__(
        self,
        service: str,
        public_keys: Mapping[str, str],
        clock: Callable[[], float] = time.time,
        nonce_limit: int = NONCE_LIMIT,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the name tokens must be addressed to and the callers' public keys.

        `clock` is the time in tokens; `ticks` never go back, whatever is done to the clock.
        """
        self._service = service
        self._keys = {name: load_public_key(pem) for name, pem in public_keys.items()}
        self._clock = clock
        # Nonces die with the process: what was issued before it is not accepted after it.
        self._not_before = clock()
        self._nonces = _NonceStore(nonce_limit, ticks)

    def verify(self, token: str, method: str, path: str) -> str:
        """The name of the service that sent `token` for this very request.

        Raises:
            TokenRefusedError: with the reason.

        Source: G3a.
        """
        claims = self._verified_claims(token)
        for name, got, expected in (
            ("aud", claims["aud"], self._service),
            ("method", claims["method"], method.upper()),
            ("path", claims["path"], signed_path(path)),
        ):
            if got != expected:
                raise TokenRefusedError(f"{name}: expected {expected!r}, got {str(got)[:100]!r}")
        now = self._clock()
        self._check_times(claims, now)
        nonce = claims["jti"]
        if not isinstance(nonce, str) or len(nonce) != _NONCE_LENGTH:
            raise TokenRefusedError(f"jti: expected {_NONCE_LENGTH} hex digits")
        self._nonces.spend(nonce, now, claims["exp"] + LEEWAY_SECONDS)
        return str(claims["iss"])

    def _verified_claims(self, token: str) -> dict[str, Any]:
        try:
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
            key = self._keys.get(issuer) if isinstance(issuer, str) else None
            if key is None:
                raise TokenRefusedError(f"iss: expected a known service, got {str(issuer)[:100]!r}")
            # Times and audience are checked below, against one clock and without coercion.
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                options={
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_aud": False,
                    "require": list(_CLAIMS),
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as problem:
            raise TokenRefusedError(f"not a valid token: {problem}") from problem
        return claims

    def _check_times(self, claims: Mapping[str, Any], now: float) -> None:
        issued, expires = claims["iat"], claims["exp"]
        for name, value in (("iat", issued), ("exp", expires)):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TokenRefusedError(f"{name}: expected a number")
        # A clock that was set back must not lock everybody out until it catches up.
        self._not_before = min(self._not_before, now)
        # No leeway for the start: seconds before it, the same token may have been used.
        if not self._not_before <= issued <= now + LEEWAY_SECONDS:
            raise TokenRefusedError("iat: expected after this service started and not in future")
        if not now - LEEWAY_SECONDS < expires <= issued + LIFETIME_SECONDS:
            raise TokenRefusedError(
                f"exp: expected not passed, and {LIFETIME_SECONDS:g} s after iat"
            )


class _NonceStore:
    """Nonces seen, until their token has expired; bounded in time and number.

    A nonce is forgotten when its time has passed by the ticks and by the clock. The clock
    alone would forget too early after a step forward and back; the ticks alone would
    when the clock is set back and the token's time comes again.
    """

    def __init__(self, limit: int, ticks: Callable[[], float]) -> None:
        self._limit = limit
        self._ticks = ticks
        self._expiry: dict[str, tuple[float, float]] = {}  # by the ticks, by the clock
        # Those of before a clock was set back: few, and let go together.
        self._kept: set[str] = set()
        self._kept_until = 0.0
        self._lock = threading.Lock()

    def spend(self, nonce: str, now: float, until: float) -> None:
        with self._lock:
            ticks = self._ticks()
            self._forget(now, ticks)
            if nonce in self._expiry or nonce in self._kept:
                raise TokenRefusedError("jti: this token was used before")
            if len(self._expiry) + len(self._kept) >= self._limit:
                raise TokenRefusedError("jti: too many tokens at once to remember them all")
            self._expiry[nonce] = (ticks + until - now, until)

    def _forget(self, now: float, ticks: float) -> None:
        # Insertion order is roughly expiry order: look at the old end only.
        while self._expiry:
            oldest = next(iter(self._expiry))
            by_ticks, by_clock = self._expiry[oldest]
            if by_ticks >= ticks:
                break
            del self._expiry[oldest]
            if by_clock >= now:
                self._kept.add(oldest)
                self._kept_until = max(self._kept_until, by_clock)
        if self._kept and self._kept_until < now:
            self._kept.clear()
            self._kept_until = 0.0


def signed_path(path: str) -> str:
    """The part of a request target that a token is bound to: its path, decoded, no query."""
    return unquote(path.partition("?")[0])
