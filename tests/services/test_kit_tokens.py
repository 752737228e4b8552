"""Service tokens: each is good for one request, once, while it is fresh (G3a)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from service_tokens import assemble, encoded, parts, sign

from services.kit.keyring import PublicKeys, read_private_key
from services.kit.keys import signing_key_path
from services.kit.nonces import NonceStore, NonceStoreError
from services.kit.settings import LEEWAY_SECONDS
from services.kit.tokens import LIFETIME_SECONDS, LONGEST_TOKEN, Target, TokenRefusedError
from services.kit.tokens import TokenVerifier as Verifier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PATH = "/v1/results/job-1"
GET = Target("GET", PATH)
BOOT = "01234567-89ab-cdef-0123-456789abcdef"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        """Start at some time in the past."""
        self.now = 1_700_000_000.0
        self.ticks = 50.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Time goes on, as opposed to a clock that is set."""
        self.now += seconds
        self.ticks += seconds


class Bench:
    """The sessions service's verifier over real keys and a real store, and its callers."""

    def __init__(self, folder: Path) -> None:
        """Use the keys of a prepared state folder."""
        self.clock = Clock()
        self.keys = folder / "keys"
        self.folder = folder

    def verifier(
        self, nonce_limit: int = 3, boot: str = BOOT, leeway: float = LEEWAY_SECONDS
    ) -> Verifier:
        """A verifier as a process makes it at its start."""
        clock, ticks = self.clock, lambda: self.clock.ticks
        nonces = NonceStore(
            self.folder / "nonces",
            "sessions",
            leeway_seconds=leeway,
            limit=nonce_limit,
            clock=clock,
            ticks=ticks,
            boot=boot,
        )
        keys = PublicKeys(self.keys, clock, ticks)
        return Verifier("sessions", keys, nonces, leeway, clock=clock)

    def sign(self, path: str = PATH, *, caller: str = "gateway", **changes: Any) -> str:
        """A token of the gateway for the sessions service."""
        audience, method = changes.pop("audience", "sessions"), changes.pop("method", "GET")
        return sign(self.keys, caller, audience, method, path, clock=self.clock, **changes)

    def private_key(self, service: str = "gateway") -> Ed25519PrivateKey:
        return read_private_key(signing_key_path(self.keys, service))


@pytest.fixture
def bench(state_folder: Path) -> Bench:
    return Bench(state_folder)


@pytest.fixture
def verifier(bench: Bench) -> Verifier:
    return bench.verifier()


@pytest.fixture
def clock(bench: Bench) -> Clock:
    return bench.clock


def refused(verifier: Verifier, token: str, target: Target = GET, content: bytes = b"") -> str:
    with pytest.raises(TokenRefusedError) as caught:
        verifier.verify(token, target, content)
    assert token not in str(caught.value) or not token
    return str(caught.value)


def test_a_fresh_token_names_its_caller(bench: Bench, verifier: Verifier) -> None:
    token = bench.sign(method="put", content=b"body")
    assert verifier.verify(token, Target("PUT", PATH), b"body") == "gateway"


def test_a_token_is_bound_to_the_query_and_to_escapes_as_sent(
    bench: Bench, verifier: Verifier
) -> None:
    token = bench.sign("/v1/a%20b?x=1&y=%2F")
    for path, query in (("/v1/a b", "x=1&y=%2F"), ("/v1/a%20b", "x=1&y=/"), ("/v1/a%20b", "")):
        assert refused(verifier, token, Target("GET", path, query)).startswith(("path", "query"))
    assert verifier.verify(token, Target.of("GET", "/v1/a%20b?x=1&y=%2F")) == "gateway"


def test_a_replayed_token_is_refused(bench: Bench, verifier: Verifier) -> None:
    token = bench.sign()
    verifier.verify(token, GET)
    assert "used before" in refused(verifier, token)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"audience": "executor"}, "aud"),
        ({"method": "POST"}, "method"),
        ({"path": PATH + "0"}, "path"),
        ({"path": PATH + "?limit=5"}, "query"),
        ({"content": b" "}, "body_sha256"),
    ],
)
def test_a_token_for_another_request_is_refused(
    bench: Bench, verifier: Verifier, change: dict[str, Any], wanted: str
) -> None:
    assert refused(verifier, bench.sign(**change)).startswith(f"{wanted}: expected")


def test_an_empty_body_is_bound_too(bench: Bench, verifier: Verifier) -> None:
    assert refused(verifier, bench.sign(), content=b"{}").startswith("body_sha256")


def test_a_refused_token_does_not_spend_its_nonce(bench: Bench, verifier: Verifier) -> None:
    token = bench.sign()
    refused(verifier, token, Target("DELETE", PATH))
    refused(verifier, token, content=b"other")
    assert verifier.verify(token, GET) == "gateway"


def test_an_expired_token_is_refused(bench: Bench, verifier: Verifier, clock: Clock) -> None:
    token = bench.sign()
    clock.now += LIFETIME_SECONDS + LEEWAY_SECONDS
    assert refused(verifier, token).startswith("exp")


def test_a_token_that_expires_while_its_body_comes_is_refused(
    bench: Bench, verifier: Verifier, clock: Clock
) -> None:
    """Or it could be spent twice: its nonce would be forgotten as soon as it was kept."""
    claims = verifier.examine(bench.sign(), GET)
    clock.pass_by(LIFETIME_SECONDS + LEEWAY_SECONDS)
    with pytest.raises(TokenRefusedError, match="exp"):
        verifier.accept(claims, claims.body_sha256)


def test_a_token_of_the_future_is_refused(bench: Bench, verifier: Verifier, clock: Clock) -> None:
    token = bench.sign()
    clock.now -= LEEWAY_SECONDS + 1
    assert refused(verifier, token).startswith("iat")


@pytest.mark.parametrize("seconds", [-1.0, 0.0])
def test_a_token_that_ends_before_it_begins_is_refused(
    bench: Bench, verifier: Verifier, clock: Clock, seconds: float
) -> None:
    """Within the leeway at both ends, so that no other rule refuses it (RFC 7519)."""
    clock.pass_by(1)
    header, claims = parts(bench.sign())
    token = assemble(header, claims | {"exp": claims["iat"] + seconds}, bench.private_key())
    assert refused(verifier, token) == "exp: expected after iat"
    token = assemble(header, claims | {"exp": claims["iat"] + 0.5}, bench.private_key())
    assert verifier.verify(token, GET) == "gateway"


@pytest.mark.parametrize("skew", [-0.9, 0.9])
def test_a_clock_within_the_leeway_is_let_in(
    bench: Bench, verifier: Verifier, clock: Clock, skew: float
) -> None:
    clock.pass_by(60)
    clock.now += skew * LEEWAY_SECONDS
    token = bench.sign()
    clock.now -= skew * LEEWAY_SECONDS
    assert verifier.verify(token, GET) == "gateway"


def test_a_used_token_is_refused_after_a_restart(bench: Bench, verifier: Verifier) -> None:
    token, unused = bench.sign(), bench.sign()
    verifier.verify(token, GET)
    restarted = bench.verifier()
    assert "used before" in refused(restarted, token)
    assert restarted.verify(unused, GET) == "gateway"


def remove_store(bench: Bench, *, whole: bool = False) -> None:
    """What somebody takes away: the store, or all there is in its folder."""
    for path in (bench.folder / "nonces").iterdir():
        if whole or ".db" in path.name:
            path.unlink()


@pytest.mark.parametrize("lost", ["reboot", "removed", "removed with all marks", "restart"])
def test_a_new_store_refuses_what_was_signed_before_it(
    bench: Bench, verifier: Verifier, clock: Clock, lost: str
) -> None:
    """The nonces are gone; so must be what they guarded."""
    token = bench.sign()
    clock.pass_by(0.001)
    if lost == "reboot":
        verifier = bench.verifier(boot=BOOT.replace("0", "f"))
    else:
        remove_store(bench, whole="marks" in lost)
        verifier = bench.verifier() if lost == "restart" else verifier
    assert "after the replay store was made" in refused(verifier, token)
    clock.pass_by(0.0 if lost == "reboot" else LEEWAY_SECONDS + 0.001)
    assert verifier.verify(bench.sign(), GET) == "gateway"


@pytest.mark.parametrize("leeway", [0.0, LEEWAY_SECONDS, 15.0])
@pytest.mark.parametrize("process", ["the same", "the same, without marks", "another"])
def test_a_new_store_refuses_whatever_the_old_one_may_have_accepted(
    bench: Bench, clock: Clock, leeway: float, process: str
) -> None:
    """Signed by a clock that is ahead by just the leeway, accepted, and sent once more."""
    verifier = bench.verifier(leeway=leeway)
    clock.now += leeway
    token = bench.sign()
    clock.now -= leeway
    assert verifier.verify(token, GET) == "gateway"
    remove_store(bench, whole="marks" in process)
    verifier = bench.verifier(leeway=leeway) if process == "another" else verifier
    for seconds in (0.0, leeway / 2, leeway / 2, 1.0):
        clock.pass_by(seconds)
        assert "after the replay store was made" in refused(verifier, token)
        if not seconds:
            assert "after the replay store" in refused(verifier, bench.sign())
    assert verifier.verify(bench.sign(), GET) == "gateway"


@pytest.mark.parametrize("ticks", [0.5, 4.0, 6.0])
def test_the_first_store_of_a_boot_waits_for_no_longer_than_the_leeway_since_the_boot(
    bench: Bench, verifier: Verifier, clock: Clock, ticks: float
) -> None:
    """Nothing was accepted since the boot: a service that starts late waits for nothing."""
    clock.now += LEEWAY_SECONDS
    token = bench.sign()
    clock.now -= LEEWAY_SECONDS
    verifier.verify(token, GET)
    clock.now, clock.ticks = clock.now + ticks, ticks
    verifier = bench.verifier(boot=BOOT.replace("0", "f"))
    assert "after the replay store" in refused(verifier, token)
    clock.pass_by(max(0.0, LEEWAY_SECONDS - ticks) + 0.001)
    verifier.nonces.check()
    assert verifier.verify(bench.sign(), GET) == "gateway"


def test_a_store_that_begins_anew_is_not_ready_until_it_accepts(
    bench: Bench, verifier: Verifier, clock: Clock
) -> None:
    verifier.nonces.check()
    remove_store(bench)
    for seconds in (0.0, LEEWAY_SECONDS - 0.1):
        clock.pass_by(seconds)
        with pytest.raises(NonceStoreError, match="begun anew: tokens are accepted in"):
            verifier.nonces.check()
    clock.pass_by(0.2)
    verifier.nonces.check()
    assert verifier.verify(bench.sign(), GET) == "gateway"


def test_a_clock_that_is_set_back_for_a_moment_lets_nothing_in_from_before_the_store(
    bench: Bench, verifier: Verifier, clock: Clock
) -> None:
    """Neither meanwhile nor afterwards: the set-back is not remembered."""
    clock.pass_by(15)
    token = bench.sign()
    clock.pass_by(5)
    remove_store(bench)
    refused(verifier, token)
    clock.pass_by(LEEWAY_SECONDS + 1)
    for set_by in (0, -13, 13):
        clock.now += set_by
        assert "after the replay store" in refused(verifier, token), set_by
    assert verifier.verify(bench.sign(), GET) == "gateway"


def test_a_clock_that_is_set_back_far_and_put_right_lets_nothing_in_afterwards(
    bench: Bench, verifier: Verifier, clock: Clock
) -> None:
    clock.pass_by(15)
    token = bench.sign()
    remove_store(bench)
    refused(verifier, token)
    clock.now -= 3600
    clock.pass_by(LEEWAY_SECONDS + 0.001)
    assert verifier.verify(bench.sign(), GET) == "gateway"
    clock.now += 3600
    assert "after the replay store" in refused(verifier, token)


def test_a_clock_that_was_ahead_when_the_store_began_locks_nobody_out(
    bench: Bench, clock: Clock
) -> None:
    """As after a start with a clock that was not set yet."""
    clock.now += 7200
    verifier = bench.verifier()
    clock.now -= 7200
    assert verifier.verify(bench.sign(), GET) == "gateway"


def test_a_clock_set_back_locks_nobody_out(bench: Bench, verifier: Verifier, clock: Clock) -> None:
    clock.now -= 3600
    assert verifier.verify(bench.sign(), GET) == "gateway"


def test_a_clock_set_forward_locks_nobody_out(
    bench: Bench, verifier: Verifier, clock: Clock
) -> None:
    token = bench.sign()
    clock.now += 3600
    assert refused(verifier, token).startswith("exp")
    assert verifier.verify(bench.sign(), GET) == "gateway"


def test_nonces_are_forgotten_only_after_expiry(
    bench: Bench, verifier: Verifier, clock: Clock
) -> None:
    for _ in range(3):
        verifier.verify(bench.sign(), GET)
    with pytest.raises(NonceStoreError, match="too many"):
        verifier.verify(bench.sign(), GET)
    clock.pass_by(LIFETIME_SECONDS + LEEWAY_SECONDS + 1)
    assert verifier.verify(bench.sign(), GET) == "gateway"


def test_a_clock_that_was_ahead_for_a_moment_forgets_nothing(
    bench: Bench, verifier: Verifier, clock: Clock
) -> None:
    token = bench.sign()
    verifier.verify(token, GET)
    clock.now += 100
    verifier.verify(bench.sign(), GET)
    clock.now -= 99
    assert "used before" in refused(verifier, token)


def test_a_clock_set_back_forgets_nothing_when_its_time_comes_again(
    bench: Bench, verifier: Verifier, clock: Clock
) -> None:
    token = bench.sign()
    verifier.verify(token, GET)
    clock.now -= 3600
    for seconds in (1800, 1790):
        clock.pass_by(seconds)
        verifier.verify(bench.sign(), GET)
    clock.pass_by(10)
    assert "used before" in refused(verifier, token)


def test_a_clock_set_back_after_the_time_has_passed_opens_no_window(
    bench: Bench, clock: Clock
) -> None:
    """An expired nonce is kept for an hour more, while there is room."""
    verifier = bench.verifier(nonce_limit=100)
    token = bench.sign()
    verifier.verify(token, GET)
    clock.pass_by(1800)
    verifier.verify(bench.sign(), GET)
    clock.now -= 1800
    assert "used before" in refused(verifier, token)


def test_a_clock_set_back_fills_no_store(bench: Bench, clock: Clock) -> None:
    """The nonces of before must not keep those of after from being forgotten."""
    verifier = bench.verifier(nonce_limit=100)
    verifier.verify(bench.sign(), GET)
    clock.now -= 3600
    for _ in range(400):
        clock.pass_by(0.5)
        verifier.verify(bench.sign(), GET)


def test_another_key_under_a_known_name_is_refused(bench: Bench, verifier: Verifier) -> None:
    for caller, key in (("gateway", "executor"), ("stranger", "gateway")):
        assert refused(verifier, bench.sign(caller=caller, key=key)).startswith("iss: expected")


def test_a_signature_by_another_key_is_refused(bench: Bench, verifier: Verifier) -> None:
    header, claims = parts(bench.sign())
    forged = assemble(header, claims, bench.private_key("executor"))
    assert "Signature verification failed" in refused(verifier, forged)


def _public_pem(bench: Bench) -> bytes:
    return (
        bench.private_key()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _confused(bench: Bench, secret: str, claims: dict[str, Any], kid: str) -> str:
    """HS256 with the public key as the secret, as PEM or raw: the classic."""
    import hashlib
    import hmac

    raw = bench.private_key().public_key().public_bytes_raw()
    key = _public_pem(bench) if secret == "pem" else raw
    header = {"alg": "HS256", "kid": kid, "typ": "service-token+jwt"}
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    mac = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{encoded(mac)}"


@pytest.mark.parametrize("kind", ["none", "NONE", "unsigned", "pem", "raw", "ES256", "x" * 64])
def test_only_eddsa_is_accepted(bench: Bench, verifier: Verifier, kind: str) -> None:
    header, claims = parts(bench.sign())
    if kind in {"none", "NONE"}:
        token = assemble({**header, "alg": kind}, claims, None)
    elif kind == "unsigned":
        token = assemble(header, claims, None)
    elif kind in {"pem", "raw"}:
        token = _confused(bench, kind, claims, header["kid"])
    elif kind == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
        token = jwt.encode(claims, key, "ES256", {"kid": header["kid"], "typ": header["typ"]})
    else:
        token = jwt.encode(claims, kind, "HS256", {"kid": header["kid"], "typ": header["typ"]})
    wanted = "not a valid token" if kind == "unsigned" else "header: expected alg EdDSA"
    assert refused(verifier, token).startswith(wanted)


@pytest.mark.parametrize(
    "change",
    [
        {"kid": None},
        {"kid": ""},
        {"kid": "A" * 43},
        {"kid": "../../private/gateway/signing.pem"},
        {"kid": "/etc/passwd"},
        {"kid": ["x"]},
        {"crit": ["b64"], "b64": False},
        {"jku": "http://127.0.0.1/keys"},
        {"jwk": {"kty": "OKP"}},
        {"typ": "JWT"},
        {"alg": "EdDSA", "zip": "DEF"},
    ],
)
def test_a_header_with_anything_else_is_refused(
    bench: Bench, verifier: Verifier, change: dict[str, Any]
) -> None:
    header, claims = parts(bench.sign())
    token = assemble({**header, **change}, claims, bench.private_key())
    assert refused(verifier, token).startswith(("kid", "header"))


@pytest.mark.parametrize(
    "change",
    [
        lambda claims: claims.pop("jti"),
        lambda claims: claims.pop("exp"),
        lambda claims: claims.pop("path"),
        lambda claims: claims.pop("query"),
        lambda claims: claims.pop("body_sha256"),
        lambda claims: claims.update(jti="short"),
        lambda claims: claims.update(jti="A" * 32),
        lambda claims: claims.update(jti=claims["jti"] + "\n"),
        lambda claims: claims.update(iat=True),
        lambda claims: claims.update(iat=float("nan")),
        lambda claims: claims.update(iat=float("-inf")),
        lambda claims: claims.update(exp=float("inf")),
        lambda claims: claims.update(iat=10**400),
        lambda claims: claims.update(exp=str(claims["exp"])),
        lambda claims: claims.update(exp=claims["exp"] + 3600),
        lambda claims: claims.update(exp=claims["iat"] - 60),
        lambda claims: claims.update(aud=["sessions", "executor"]),
        lambda claims: claims.update(iss=None),
        lambda claims: claims.update(nbf=claims["iat"]),
        lambda claims: claims.update(admin=True),
    ],
)
def test_a_signed_token_with_odd_claims_is_refused(
    bench: Bench, verifier: Verifier, change: Callable[[dict[str, object]], object]
) -> None:
    header, claims = parts(bench.sign())
    change(claims)
    refused(verifier, assemble(header, claims, bench.private_key()))


@pytest.mark.parametrize("where", ["header", "claims"])
def test_a_name_that_stands_twice_is_refused(bench: Bench, verifier: Verifier, where: str) -> None:
    """Two readers might read two different values."""
    header, claims = (json.dumps(part) for part in parts(bench.sign()))
    if where == "header":
        header = '{"alg": "none", ' + header[1:]
    else:
        claims = '{"iss": "executor", ' + claims[1:]
    token = assemble(header, claims, bench.private_key())
    assert "expected each name once" in refused(verifier, token)


@pytest.mark.parametrize("text", ["[]", "null", "1", "[" * 3000, "{", "\x00"])
def test_claims_that_are_no_object_are_refused(bench: Bench, verifier: Verifier, text: str) -> None:
    header, _claims = parts(bench.sign())
    assert refused(verifier, assemble(header, text, bench.private_key())).startswith("claims")
    refused(verifier, assemble(text, text, bench.private_key()))


@pytest.mark.parametrize(
    "token",
    ["", "a.b.c", "é", "\ud800", "{}", "." * 8000, "e30.e30.e30", "!!!!.e30.e30", "eyJ" * 2000],
)
def test_garbage_is_refused(verifier: Verifier, token: str) -> None:
    refused(verifier, token)


def test_a_huge_token_is_refused_unread(bench: Bench, verifier: Verifier) -> None:
    token = bench.sign("/" + "x" * LONGEST_TOKEN)
    assert refused(verifier, token).startswith(f"expected at most {LONGEST_TOKEN} characters")


def test_one_changed_character_is_refused(bench: Bench, verifier: Verifier) -> None:
    token = bench.sign()
    for position in range(0, len(token), 7):
        other = "A" if token[position] != "A" else "B"
        refused(verifier, token[:position] + other + token[position + 1 :])
    for odd in (token + "=", token + "\n", " " + token, token + ".x"):
        refused(verifier, odd)
    assert verifier.verify(token, GET) == "gateway"
