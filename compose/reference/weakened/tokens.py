"""Service tokens: each of the checks that a verifier makes."""

from __future__ import annotations

import base64
import json
import secrets
import time
from typing import Any

import jwt
from services.kit import tokens
from weakened.registry import control, replace

_Claims = dict[str, Any]


def _change_claims(change: Any) -> None:  # noqa: ANN401 - (verifier, claims) -> claims
    """Let `change` correct the claims of every token before they are judged."""
    verified = tokens.TokenVerifier._verified_claims  # noqa: SLF001 - switched off from outside

    def corrected(self: Any, token: str) -> _Claims:  # noqa: ANN401 - the verifier
        return {**(found := verified(self, token)), **change(self, found)}

    replace(tokens.TokenVerifier, "_verified_claims", corrected)


def _remember_request() -> dict[str, str]:
    """The method and path of the request whose token is being judged."""
    asked: dict[str, str] = {}
    verify = tokens.TokenVerifier.verify

    def noted(self: Any, token: str, method: str, path: str) -> str:  # noqa: ANN401
        asked.update(method=method.upper(), path=tokens.signed_path(path))
        return verify(self, token, method, path)

    replace(tokens.TokenVerifier, "verify", noted)
    return asked


def _unverified(token: str) -> _Claims:
    """What a token says, read by hand: a library would still look at its header."""
    part = token.split(".")[1]
    found: _Claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@control("service-token-signature")
def signature() -> None:
    """Nobody looks at the signature, nor at the algorithm."""
    replace(tokens.TokenVerifier, "_verified_claims", lambda _self, token: _unverified(token))


@control("service-token-audience")
def audience() -> None:
    """A token for another service is good here, too."""
    _change_claims(lambda self, _: {"aud": self._service})


@control("service-token-method")
def method() -> None:
    """A token for another method is good, too."""
    asked = _remember_request()
    _change_claims(lambda _self, _: {"method": asked["method"]})


@control("service-token-path")
def path() -> None:
    """A token for another path is good, too."""
    asked = _remember_request()
    _change_claims(lambda _self, _: {"path": asked["path"]})


@control("service-token-time")
def times() -> None:
    """A token is good for ever, and before its time."""
    replace(tokens.TokenVerifier, "_check_times", lambda _self, _claims, _now: None)


@control("service-token-replay")
def replay() -> None:
    """A token is good as often as it is sent, also after a restart."""
    replace(tokens._NonceStore, "spend", lambda _self, _nonce, _now, _until: None)  # noqa: SLF001
    check_times = tokens.TokenVerifier._check_times  # noqa: SLF001

    def without_start(self: Any, claims: _Claims, now: float) -> None:  # noqa: ANN401
        self._not_before = 0.0
        check_times(self, claims, now)

    replace(tokens.TokenVerifier, "_check_times", without_start)


@control("service-token-claims")
def claims() -> None:
    """What is missing, or of another type, is taken for good."""
    asked = _remember_request()

    def filled(self: Any, token: str) -> _Claims:  # noqa: ANN401
        found = _unverified(token)
        jwt.PyJWS().decode(token, self._keys[found["iss"]], algorithms=[tokens.ALGORITHM])
        begin = found.get("iat")
        begin = begin if isinstance(begin, float) else time.time()
        good: _Claims = {
            "aud": self._service,
            "iat": begin,
            "exp": begin + tokens.LIFETIME_SECONDS,
            "jti": secrets.token_hex(16),
            **asked,
        }
        kept = {name: value for name, value in found.items() if _fits(value, good.get(name))}
        return {**good, **kept}

    replace(tokens.TokenVerifier, "_verified_claims", filled)


def _fits(value: object, good: object) -> bool:
    if isinstance(good, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str) and (len(value) == len(str(good)) or value == good)
