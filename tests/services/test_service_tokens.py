"""Forged, stolen and worn-out service tokens, sent to a service that runs (G3a).

Each attack is beside a request that differs from it in that one point and is let in.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from service_tokens import assemble, encoded, json_content, parts, sign

from services.kit.door import ServiceTokenMiddleware
from services.kit.keyring import read_private_key
from services.kit.keys import key_id, signing_key_path
from services.kit.middleware import BODY_LIMIT_BYTES
from services.kit.settings import LEEWAY_SECONDS
from services.kit.tokens import LIFETIME_SECONDS, LONGEST_TOKEN
from services.memory_engine.app import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service_protocols import Serve, Served, SettingsFor

HEADER = "X-Service-Token"
PATH = "/v1/results/job-1?from=test"
BODY = json_content({"content": "proof"})
NAMES = {"alg": "EdDSA", "typ": "service-token+jwt"}


@dataclass(frozen=True)
class Door:
    """The memory-engine as it runs, and the executor's pen."""

    url: str
    keys: Path
    client: httpx.Client
    state: Path

    def sign(self, **changes: Any) -> str:
        """A token for the one request of this file, with what the test changes in it."""
        given: dict[str, Any] = {"caller": "executor", "audience": "memory-engine"}
        given |= {"method": "PUT", "path": PATH, "content": BODY} | changes
        return sign(self.keys, **given)

    def forge(self, header: Any = None, claims: Any = None, key: Any = None) -> str:
        """A good token with other members, signed with the executor's key or another."""
        good_header, good_claims = parts(self.sign())
        return assemble(
            header if isinstance(header, str) else {**good_header, **(header or {})},
            claims if isinstance(claims, str) else {**good_claims, **(claims or {})},
            key or self.private_key,
        )

    @property
    def private_key(self) -> Ed25519PrivateKey:
        return read_private_key(signing_key_path(self.keys, "executor"))

    def send(self, *tokens: str, content: Any = BODY, name: str = HEADER) -> httpx.Response:
        """The one request of this file, with tokens."""
        headers = [("Content-Type", "application/json"), *((name, token) for token in tokens)]
        return self.client.put(self.url + PATH, content=content, headers=headers)

    def stored(self) -> int:
        """The status of asking for what the request stores."""
        target = PATH.partition("?")[0]
        token = self.sign(method="GET", path=target, content=b"")
        return self.client.get(self.url + target, headers={HEADER: token}).status_code


@pytest.fixture
def served(settings_for: SettingsFor, serve: Serve) -> Served:
    return serve(build(settings_for("memory-engine")))


@pytest.fixture
def door(served: Served, state_folder: Path) -> Iterator[Door]:
    with httpx.Client(trust_env=False) as client:
        yield Door(served.url, state_folder / "keys", client, state_folder)


def _raw_public(door: Door) -> bytes:
    return door.private_key.public_key().public_bytes_raw()


def _pem_public(door: Door) -> bytes:
    return door.private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _confused(door: Door, secret: bytes) -> str:
    """HS256 with the public key as its secret."""
    header, claims = parts(door.sign())
    texts = (json.dumps({**header, "alg": "HS256"}), json.dumps(claims))
    signed = ".".join(encoded(text.encode()) for text in texts)
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


def _es256(door: Door) -> str:
    header, claims = parts(door.sign())
    key = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(claims, key, "ES256", {"kid": header["kid"], "typ": header["typ"]})


def _strangers(door: Door) -> str:
    """Well signed, with a key that nobody has published."""
    stranger = Ed25519PrivateKey.generate()
    return door.forge({"kid": key_id(stranger.public_key())}, key=stranger)


def _shifted(door: Door, seconds: float) -> str:
    return door.sign(clock=lambda: time.time() + seconds)


def _doubled(door: Door, where: int) -> str:
    texts = [json.dumps(part) for part in parts(door.sign())]
    texts[where] = ('{"alg": "none", ', '{"iss": "gateway", ')[where] + texts[where][1:]
    return door.forge(*texts)


def _unsigned(door: Door, algorithm: str) -> str:
    header, claims = parts(door.sign())
    return assemble({**header, "alg": algorithm}, claims, None)


# Name: how the token is made, and what the log says of it.
ATTACKS: dict[str, tuple[Callable[[Door], str], str]] = {
    "expired": (lambda door: _shifted(door, -LIFETIME_SECONDS - LEEWAY_SECONDS - 1), "exp: "),
    "not-yet-valid": (lambda door: _shifted(door, LEEWAY_SECONDS + 30), "iat: "),
    "clock-ahead": (lambda door: _shifted(door, LEEWAY_SECONDS + 2), "iat: "),
    "clock-behind": (lambda door: _shifted(door, -3600), "exp: "),
    "too-long-a-life": (
        lambda door: door.forge(claims={"exp": time.time() + 3600}),
        "exp: ",
    ),
    "wrong-audience": (lambda door: door.sign(audience="sessions"), "aud: "),
    "wrong-method": (lambda door: door.sign(method="POST"), "method: "),
    "wrong-path": (lambda door: door.sign(path="/v1/results/job-2?from=test"), "path: "),
    "escaped-path": (lambda door: door.sign(path="/v1/results/%6aob-1?from=test"), "path: "),
    "wrong-query": (lambda door: door.sign(path="/v1/results/job-1?from=other"), "query: "),
    "no-query": (lambda door: door.sign(path="/v1/results/job-1"), "query: "),
    "wrong-body": (lambda door: door.sign(content=BODY + b" "), "body_sha256: "),
    "no-body": (lambda door: door.sign(content=b""), "body_sha256: "),
    "unsigned": (lambda door: _unsigned(door, "EdDSA"), "not a valid token"),
    "alg-none": (lambda door: _unsigned(door, "none"), "header: "),
    "alg-None": (lambda door: _unsigned(door, "None"), "header: "),
    "key-confusion-raw": (lambda door: _confused(door, _raw_public(door)), "header: "),
    "key-confusion-pem": (lambda door: _confused(door, _pem_public(door)), "header: "),
    "es256": (_es256, "header: "),
    "alg-array": (lambda door: door.forge({"alg": ["EdDSA"]}), "header: "),
    "own-key-in-header": (lambda door: door.forge({"jwk": {"kty": "OKP"}}), "header: "),
    "unencoded-payload": (lambda door: door.forge({"b64": False, "crit": ["b64"]}), "header: "),
    "no-kid": (lambda door: assemble(NAMES, parts(door.sign())[1], door.private_key), "header: "),
    "unknown-kid": (_strangers, "kid: "),
    "kid-traversal": (
        lambda door: door.forge({"kid": "../../private/executor/signing.pem"}),
        "kid: ",
    ),
    "kid-device": (lambda door: door.forge({"kid": "/dev/null"}), "kid: "),
    "kid-injection": (lambda door: door.forge({"kid": "' OR 1=1 --"}), "kid: "),
    "foreign-issuer": (lambda door: door.forge(claims={"iss": "stranger"}), "iss: "),
    "another-services-name": (lambda door: door.forge(claims={"iss": "gateway"}), "iss: "),
    "another-services-key": (
        lambda door: door.forge(key=read_private_key(signing_key_path(door.keys, "gateway"))),
        "not a valid token",
    ),
    "doubled-header-member": (lambda door: _doubled(door, 0), "header: "),
    "doubled-claim": (lambda door: _doubled(door, 1), "claims: "),
    "unknown-claim": (lambda door: door.forge(claims={"scope": "all"}), "claims: "),
    "boolean-time": (lambda door: door.forge(claims={"iat": True}), "iat: "),
    "endless-time": (lambda door: door.forge(claims={"exp": float("inf")}), "claims: "),
    "claims-not-an-object": (lambda door: door.forge(claims="[]"), "claims: "),
    "deep-claims": (lambda door: door.forge(claims="[" * 4000), "claims: "),
    "huge": (lambda _door: "e30." * (LONGEST_TOKEN // 4 + 1), "expected at most"),
    "empty": (lambda _door: "", "header: "),
    "garbage": (lambda _door: "a.b.c", "header: "),
    "twice-in-one-header": (lambda door: f"{door.sign()}, {door.sign()}", "not a valid token"),
    "bearer-prefix": (lambda door: f"Bearer {door.sign()}", "header: "),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_401_changes_nothing_and_is_in_the_log_without_the_token(
    door: Door, caplog: pytest.LogCaptureFixture, attack: str
) -> None:
    make, reason = ATTACKS[attack]
    token = make(door)
    with caplog.at_level(logging.WARNING, "services"):
        response = door.send(token)
    assert (response.status_code, door.stored()) == (401, 404)
    error = response.json()["error"]
    assert error["message"] == "the service token was refused: sign a new one"
    assert error["code"] == "unauthorised"
    (said,) = [record for record in caplog.records if record.msg == "service token refused"]
    fields: dict[str, str] = said.__dict__["fields"]
    assert fields["reason"].startswith(reason)
    assert fields["method"] == "PUT"
    for part in token.split("."):
        assert len(part) < 8 or part not in json.dumps(fields)


def test_the_same_request_with_a_good_token_is_let_in_once(door: Door) -> None:
    token = door.sign()
    assert (door.send(token).status_code, door.stored()) == (200, 200)
    assert door.send(token).status_code == 401


@pytest.mark.parametrize("skew", [-0.8, 0.8])
def test_a_clock_within_the_leeway_is_let_in(door: Door, skew: float) -> None:
    """Ahead, or so far behind that the token has expired here by less than the leeway."""
    (path,) = (door.state / "nonces").glob("memory-engine-*.db")
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("UPDATE began SET earliest = 0")  # as if it had been made long ago
    for file in (path, *path.parent.glob(f"{path.name}-*")):
        shutil.copy(file, f"{file}.copy")
        Path(f"{file}.copy").replace(file)  # another file: it is opened anew
    at = time.time() + skew * LEEWAY_SECONDS - (LIFETIME_SECONDS if skew < 0 else 0.0)
    assert door.send(door.sign(clock=lambda: at)).status_code == 200


def test_no_token_and_a_token_elsewhere_are_401(door: Door, client_headers: dict[str, str]) -> None:
    assert door.send().status_code == 401
    for name in ("Authorization", "X-Service-Tokens", "Cookie", "X_Service_Token"):
        assert (door.send(door.sign(), name=name).status_code, name) == (401, name)
    assert door.send(f"Bearer {door.sign()}", name="Authorization").status_code == 401
    only_services = door.client.put(door.url + PATH, content=BODY, headers=client_headers)
    assert (only_services.status_code, door.stored()) == (401, 404)


def test_two_headers_are_refused_even_if_both_are_good(door: Door) -> None:
    first, second = door.sign(), door.sign()
    assert door.send(first, second).status_code == 401
    assert door.send(first, first).status_code == 401
    assert (door.send("", first).status_code, door.stored()) == (401, 404)
    assert door.send(first).status_code == 200


def test_a_bad_token_is_refused_before_its_body_is_read(door: Door) -> None:
    """Neither read nor parsed: broken JSON behind a bad token is 401, not 422."""
    assert door.send("a.b.c", content=b"{").status_code == 401
    assert door.send("a.b.c", content=b"x" * BODY_LIMIT_BYTES).status_code == 401
    assert door.send(door.sign(content=b"{"), content=b"{").status_code == 422


# --- bodies --------------------------------------------------------------------------------


def pieces(*parts: bytes) -> Iterator[bytes]:
    yield from parts


def test_a_body_in_chunks_is_bound_like_any_other(door: Door) -> None:
    assert door.send(door.sign(), content=pieces(BODY[:5], BODY[5:] + b" ")).status_code == 401
    assert door.send(door.sign(), content=pieces(BODY)).status_code == 200
    assert door.send(door.sign(), content=pieces(*(bytes([b]) for b in BODY))).status_code == 200


def test_a_large_body_passes_and_a_larger_one_is_413(door: Door) -> None:
    text = "x" * 900_000
    body = json_content({"content": text})
    answer = door.send(door.sign(content=body), content=body)
    assert answer.json()["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    large = b" " * (BODY_LIMIT_BYTES + 1)
    assert door.send(door.sign(content=large), content=large).status_code == 413
    chunks = pieces(*([large[: BODY_LIMIT_BYTES // 4]] * 5))
    assert door.send(door.sign(content=large), content=chunks).status_code == 413


def test_a_service_may_send_no_more_than_any_service_needs(
    settings_for: SettingsFor, serve: Serve, state_folder: Path
) -> None:
    """A client's upload is streamed to disk; a service's body is held in memory."""
    from services.executor.app import build as build_executor
    from services.executor.pack.routes import PATH as PACKS

    app = build_executor(settings_for("executor"))
    assert app.state.body_limits[PACKS] > BODY_LIMIT_BYTES
    content = b" " * (BODY_LIMIT_BYTES + 1)
    token = sign(
        state_folder / "keys", "gateway", "executor", "POST", f"{PACKS}?name=a", content=content
    )
    url = f"{serve(app).url}{PACKS}?name=a"
    answer = httpx.post(url, content=content, headers={HEADER: token}, trust_env=False)
    assert answer.status_code == 413


# --- the store -----------------------------------------------------------------------------


def test_a_used_token_is_refused_after_a_restart_and_an_unused_one_is_not(
    door: Door, served: Served, settings_for: SettingsFor, serve: Serve
) -> None:
    used, unused = door.sign(), door.sign()
    assert door.send(used).status_code == 200
    served.stop()
    again = Door(
        serve(build(settings_for("memory-engine"))).url, door.keys, door.client, door.state
    )
    assert again.send(used).status_code == 401
    assert again.send(unused).status_code == 200


@pytest.mark.parametrize("damage", ["garbage", "folder"])
def test_without_its_store_a_service_lets_nobody_in_and_says_so(
    door: Door, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    """Fails closed; and works again as soon as the store does, for tokens signed since."""
    (path,) = (door.state / "nonces").glob("memory-engine-*.db")
    for file in (door.state / "nonces").glob("memory-engine-*"):
        file.unlink()
    if damage == "garbage":
        path.write_bytes(b"no database at all" * 1000)
    else:
        path.mkdir()
    with caplog.at_level(logging.WARNING, "services"):
        response = door.send(door.sign())
        ready = door.client.get(f"{door.url}/readyz")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")
    assert str(door.state) not in response.text
    assert (ready.status_code, ready.json()["checks"]["service-tokens"]) == (503, "failed")
    assert "service token not judged: replay store" in caplog.messages
    path.unlink() if damage == "garbage" else path.rmdir()
    # The readiness check makes the store; what is signed once that is ready is let in.
    deadline = time.monotonic() + 2 * LEEWAY_SECONDS
    while door.client.get(f"{door.url}/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert door.stored() == 404
    assert (door.send(door.sign()).status_code, door.stored()) == (200, 200)


def test_a_full_store_lets_nobody_in(door: Door, served: Served) -> None:
    door.send(door.sign())
    served.app.state.token_verifier.nonces._limit = 1
    assert door.send(door.sign()).status_code == 503


def test_without_the_door_all_of_this_would_be_accepted(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of these tests: a door that believes every token lets attacks through."""

    async def believing(
        _self: object, scope: dict[str, Any], _tokens: object, receive: Any
    ) -> bytes:
        scope["services.caller"] = "executor"
        body: bytes = (await receive())["body"]
        return body

    monkeypatch.setattr(ServiceTokenMiddleware, "_admit", believing)
    assert {door.send(make(door)).status_code for make, _reason in ATTACKS.values()} == {200}
