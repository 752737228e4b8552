"""Service tokens as the services make them, with what a test wants to be wrong in them."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

import httpx

from services.kit.keyring import SigningKey
from services.kit.tokens import TokenSigner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def sign(
    keys: Path,
    caller: str,
    audience: str,
    method: str,
    path: str,
    *,
    content: bytes = b"",
    key: str = "",
    clock: Callable[[], float] = time.time,
) -> str:
    """A token in the name of `caller`, with the key of `key`, by default its own."""
    signer = TokenSigner(caller, SigningKey(keys, key or caller), clock)
    return signer.issue(audience, method, path, content)


def json_content(body: object) -> bytes:
    """The bytes that httpx sends for a JSON body; none where there is no body."""
    return b"" if body is None else httpx.Request("POST", "http://x", json=body).content


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, unverified."""
    header, claims, _signature = (
        base64.urlsafe_b64decode(part + "==") for part in token.split(".")
    )
    return json.loads(header), json.loads(claims)


def assemble(
    header: str | dict[str, Any], claims: str | dict[str, Any], key: Ed25519PrivateKey | None
) -> str:
    """A token of any content, well signed; without a key the signature is empty."""
    texts = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    signed = ".".join(encoded(text.encode()) for text in texts)
    return f"{signed}.{encoded(key.sign(signed.encode()) if key else b'')}"


def encoded(content: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")
