"""scripts/security/tokens.py: what is forged is wrong where a case says so, and nowhere else."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from security.model import ServiceTokens
from security.places import NotHadError
from security.tokens import Forger, Key

NOW = 1_800_000_000.0
PLAN = ServiceTokens(
    header="X-Service-Token",
    lifetime_seconds=30.0,
    claims={
        "iss": "{caller}",
        "aud": "{audience}",
        "iat": "{now}",
        "exp": "{expires}",
        "jti": "{nonce}",
        "method": "{method}",
        "path": "{path}",
        "raw": "{raw_path}",
        "query": "{query}",
        "body": "{body_digest}",
    },
    token_header={"kid": "{key_id}", "typ": "test+jwt"},
    private_key={"process": "unused"},
)
ED25519 = ed25519.Ed25519PrivateKey.generate()
P256 = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any) -> bytes:
    data: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return data


def forger(key: Any = ED25519) -> Forger:
    return Forger(PLAN, lambda _places, _caller: pem(key), clock=lambda: NOW)


def forge(token: dict[str, Any], key: Any = ED25519) -> str:
    return forger(key).forge({"caller": "gateway", **token}, "executor", "post", "/a%62?c=d", b"{}")


def part(token: str, index: int) -> Any:
    text = token.split(".")[index]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


@pytest.mark.parametrize(("key", "algorithm"), [(ED25519, "EdDSA"), (P256, "ES256")])
def test_an_honest_token_is_good_by_a_library_of_others(key: Any, algorithm: str) -> None:
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_aud": False}
    found = jwt.decode(forge({}, key), key.public_key(), algorithms=[algorithm], options=options)
    assert found["iss"] == "gateway"
    assert found["aud"] == "executor"
    assert (found["iat"], found["exp"]) == (NOW, NOW + 30)
    assert (found["method"], found["path"], found["query"]) == ("POST", "/ab", "c=d")
    assert found["raw"] == "/a%62"
    assert found["body"] == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert len(found["jti"]) == 32


@pytest.mark.parametrize(
    ("token", "claim", "wanted"),
    [
        ({"claims": {"aud": "x"}}, "aud", "x"),
        ({"claims": {"exp": {"seconds": -60}}}, "exp", NOW - 60),
        ({"claims": {"jti": None}}, "jti", None),
        ({"audience": "sessions"}, "aud", "sessions"),
        ({"method": "GET"}, "method", "GET"),
        ({"path": "/other"}, "path", "/other"),
        ({"tamper": {"path": "/x"}}, "path", "/x"),
    ],
)
def test_a_claim_is_what_the_case_says(token: dict[str, Any], claim: str, wanted: object) -> None:
    assert part(forge(token), 1).get(claim) == wanted


@pytest.mark.parametrize("sign", ["other", "empty", "garbage", "hmac_public", "hmac_empty"])
def test_a_forged_signature_is_not_the_callers(sign: str) -> None:
    with pytest.raises(jwt.PyJWTError):
        jwt.decode(
            forge({"sign": sign}), ED25519.public_key(), algorithms=["EdDSA"], audience="executor"
        )


def test_a_token_that_was_tampered_with_has_the_signature_of_another() -> None:
    honest, tampered = forge({}), forge({"tamper": {"iss": "root"}})
    assert honest.split(".")[1] != tampered.split(".")[1]
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(tampered, ED25519.public_key(), algorithms=["EdDSA"], audience="executor")


def test_the_mac_is_made_with_the_public_key() -> None:
    """CVE-2016-5431: a verifier that takes the public key for a secret would accept it."""
    token = forge({"sign": "hmac_public"})
    public = ED25519.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    first, _, signature = token.rpartition(".")
    wanted = base64.urlsafe_b64encode(hmac.digest(public, first.encode(), "sha256"))
    assert signature == wanted.rstrip(b"=").decode()
    assert part(token, 0)["alg"] == "HS256"


def test_a_key_that_nobody_knows_bears_the_name_of_a_real_one() -> None:
    assert part(forge({"sign": "other"}), 0)["kid"] == part(forge({}), 0)["kid"]


def test_the_name_of_a_key_is_its_thumbprint() -> None:
    """RFC 8037, appendix A.3."""
    raw = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    key = Key.of(ed25519.Ed25519PrivateKey.from_private_bytes(raw))
    assert key.id == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_kept_token_is_sent_again_as_it_was() -> None:
    mint = forger()
    first = mint.forge({"caller": "a", "keep": "T"}, "b", "GET", "/", b"")
    assert mint.forge({"caller": "a", "reuse": "T"}, "c", "POST", "/x", b"y") == first
    again = {"caller": "a", "reuse": "T", "template": "{token}="}
    assert mint.forge(again, "c", "POST", "/x", b"y") == f"{first}="
    assert mint.issued == {first}


def test_a_key_of_another_kind_is_refused() -> None:
    with pytest.raises(NotHadError, match="Ed25519 or P-256"):
        Key.load(pem(rsa.generate_private_key(65537, 2048)))
