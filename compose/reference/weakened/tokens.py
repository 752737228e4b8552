"""Service tokens: each of the checks that a verifier makes."""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from dataclasses import replace as changed
from typing import Any

from services.kit import door, nonces, tokens
from weakened.registry import control, replace

_SPENT_SECONDS = 60.0


def _change_claims(change: Any) -> None:  # noqa: ANN401 - (verifier, target) -> members
    """Let `change` correct the claims of every token before they are held against the request."""
    examine: Any = tokens.TokenVerifier.examine
    signed: Any = tokens.TokenVerifier._signed_claims  # noqa: SLF001 - switched off from outside
    asked: list[Any] = []

    def noted(self: Any, token: str, target: Any) -> Any:  # noqa: ANN401
        asked[:] = [target]
        return examine(self, token, target)

    def corrected(self: Any, token: str) -> Any:  # noqa: ANN401
        return changed(signed(self, token), **change(self, asked[0]))

    replace(tokens.TokenVerifier, "examine", noted)
    replace(tokens.TokenVerifier, "_signed_claims", corrected)


def _unverified(token: str) -> bytes:
    """What a token says, read by hand."""
    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@control("service-token-signature")
def signature() -> None:
    """Nobody looks at the signature, the header or the key."""

    def unsigned(_self: object, token: str) -> Any:  # noqa: ANN401
        return tokens._claims(_unverified(token))  # noqa: SLF001

    replace(tokens.TokenVerifier, "_signed_claims", unsigned)


@control("service-token-header")
def header() -> None:
    """Of the header only the key's name is looked at."""

    def key_id(token: str) -> str:
        part = token.partition(".")[0]
        return str(json.loads(base64.urlsafe_b64decode(part + "==")).get("kid"))

    replace(tokens, "_key_id", key_id)

    def without_header(token: str, key: Any, _algorithms: Any) -> bytes:  # noqa: ANN401
        first, second, third = token.split(".")
        key.verify(base64.urlsafe_b64decode(third + "=="), f"{first}.{second}".encode())
        return _unverified(token)

    replace(tokens._SIGNATURES, "decode", without_header)  # noqa: SLF001


@control("service-token-single")
def single() -> None:
    """Of several tokens the last one counts."""
    admit: Any = door.ServiceTokenMiddleware._admit  # noqa: SLF001

    async def last(self: Any, scope: Any, found: Any, receive: Any) -> Any:  # noqa: ANN401
        return await admit(self, scope, found[-1:], receive)

    replace(door.ServiceTokenMiddleware, "_admit", last)


@control("service-token-audience")
def audience() -> None:
    """A token for another service is good here, too."""
    _change_claims(lambda self, _: {"aud": self._service})


@control("service-token-method")
def method() -> None:
    """A token for another method is good, too."""
    _change_claims(lambda _, target: {"method": target.method.upper()})


@control("service-token-path")
def path() -> None:
    """A token for another path is good, too."""
    _change_claims(lambda _, target: {"path": target.path})


@control("service-token-query")
def query() -> None:
    """A token for another query is good, too."""
    _change_claims(lambda _, target: {"query": target.query})


@control("service-token-body")
def body() -> None:
    """A token for another body is good, too."""
    accept: Any = tokens.TokenVerifier.accept

    def any_body(self: Any, claims: Any, digest: str) -> Any:  # noqa: ANN401
        return accept(self, changed(claims, body_sha256=digest), digest)

    replace(tokens.TokenVerifier, "accept", any_body)


@control("service-token-time")
def times() -> None:
    """A token is good for ever, and before its time."""
    replace(tokens.TokenVerifier, "_check_times", lambda _self, _claims: None)
    replace(tokens, "is_time", lambda value: type(value) in {int, float})
    spend: Any = nonces.NonceStore.spend

    def spend_now(self: Any, nonce: bytes, _issued: float, _seconds: float) -> Any:  # noqa: ANN401
        return spend(self, nonce, time.time(), _SPENT_SECONDS)

    replace(nonces.NonceStore, "spend", spend_now)


@control("service-token-replay")
def replay() -> None:
    """A token is good as often as it is sent, also after a restart."""
    replace(nonces.NonceStore, "spend", lambda _self, _nonce, _issued, _seconds: "new")


@control("service-token-claims")
def claims() -> None:
    """What is missing, unknown or of another type is taken for good."""

    def filled(payload: bytes) -> Any:  # noqa: ANN401
        found = json.loads(payload)
        begin = found["iat"] if isinstance(found.get("iat"), float) else time.time()
        good: dict[str, Any] = {
            "iss": "gateway",
            "aud": "executor",
            "iat": begin,
            "exp": begin + tokens.LIFETIME_SECONDS,
            "jti": secrets.token_hex(16),
            "method": "POST",
            "path": "/internal/actions",
            "query": "",
            "body_sha256": found.get("body_sha256", ""),
        }
        kept = {name: found[name] for name, value in good.items() if _fits(found.get(name), value)}
        return tokens.Claims(**{**good, **kept})

    replace(tokens, "_claims", filled)


def _fits(value: object, good: object) -> bool:
    if isinstance(good, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    is_nonce = isinstance(good, str) and re.fullmatch("[0-9a-f]{32}", good) is not None
    return isinstance(value, str) and (not is_nonce or len(value) == len(str(good)))
