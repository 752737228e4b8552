"""Service tokens: each is good for one request, once, while it is fresh (G3a)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.kit.keys import public_pem
from services.kit.tokens import LEEWAY_SECONDS, LIFETIME_SECONDS, TokenRefusedError
from services.kit.tokens import TokenSigner as Signer
from services.kit.tokens import TokenVerifier as Verifier

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "/v1/results/job-1"


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


def make_key() -> str:
    return (
        Ed25519PrivateKey.generate()
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


GATEWAY_KEY = make_key()
OTHER_KEY = make_key()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(clock: Clock) -> Signer:
    return Signer("gateway", GATEWAY_KEY, clock)


@pytest.fixture
def verifier(clock: Clock) -> Verifier:
    return restarted(clock, nonce_limit=3)


def restarted(clock: Clock, nonce_limit: int) -> Verifier:
    keys = {"gateway": public_pem(GATEWAY_KEY)}
    return Verifier("sessions", keys, clock, nonce_limit, lambda: clock.ticks)


def test_a_fresh_token_names_its_caller(signer: Signer, verifier: Verifier) -> None:
    token = signer.issue("sessions", "put", PATH)
    assert verifier.verify(token, "PUT", PATH) == "gateway"


def test_a_query_and_escapes_do_not_change_the_path(signer: Signer, verifier: Verifier) -> None:
    token = signer.issue("sessions", "GET", "/v1/a%20b?x=1")
    assert verifier.verify(token, "GET", "/v1/a b") == "gateway"


def test_a_replayed_token_is_refused(signer: Signer, verifier: Verifier) -> None:
    token = signer.issue("sessions", "GET", PATH)
    verifier.verify(token, "GET", PATH)
    with pytest.raises(TokenRefusedError, match="used before"):
        verifier.verify(token, "GET", PATH)


@pytest.mark.parametrize(
    ("signed_for", "wanted"),
    [
        (("executor", "GET", PATH), "aud"),
        (("sessions", "POST", PATH), "method"),
        (("sessions", "GET", PATH + "0"), "path"),
    ],
)
def test_a_token_for_another_request_is_refused(
    signer: Signer, verifier: Verifier, signed_for: tuple[str, str, str], wanted: str
) -> None:
    with pytest.raises(TokenRefusedError, match=f"^{wanted}: expected"):
        verifier.verify(signer.issue(*signed_for), "GET", PATH)


def test_a_refused_token_does_not_spend_its_nonce(signer: Signer, verifier: Verifier) -> None:
    token = signer.issue("sessions", "GET", PATH)
    with pytest.raises(TokenRefusedError):
        verifier.verify(token, "DELETE", PATH)
    assert verifier.verify(token, "GET", PATH) == "gateway"


def test_an_expired_token_is_refused(signer: Signer, verifier: Verifier, clock: Clock) -> None:
    token = signer.issue("sessions", "GET", PATH)
    clock.now += LIFETIME_SECONDS + LEEWAY_SECONDS
    with pytest.raises(TokenRefusedError, match="exp"):
        verifier.verify(token, "GET", PATH)


def test_a_token_of_the_future_is_refused(signer: Signer, verifier: Verifier, clock: Clock) -> None:
    token = signer.issue("sessions", "GET", PATH)
    clock.now -= LEEWAY_SECONDS + 1
    with pytest.raises(TokenRefusedError, match="iat"):
        verifier.verify(token, "GET", PATH)


def test_a_token_from_before_the_restart_is_refused(signer: Signer, clock: Clock) -> None:
    """The nonces died with the process; so must what they guarded."""
    token = signer.issue("sessions", "GET", PATH)
    # Nothing is so soon after it that a used token could pass for a new one.
    clock.pass_by(0.001)
    with pytest.raises(TokenRefusedError, match="after this service started"):
        restarted(clock, nonce_limit=3).verify(token, "GET", PATH)


def test_a_clock_set_back_locks_nobody_out(
    signer: Signer, verifier: Verifier, clock: Clock
) -> None:
    clock.now -= 3600
    assert verifier.verify(signer.issue("sessions", "GET", PATH), "GET", PATH) == "gateway"


def test_nonces_are_forgotten_only_after_expiry(
    signer: Signer, verifier: Verifier, clock: Clock
) -> None:
    for _ in range(3):
        verifier.verify(signer.issue("sessions", "GET", PATH), "GET", PATH)
    with pytest.raises(TokenRefusedError, match="too many"):
        verifier.verify(signer.issue("sessions", "GET", PATH), "GET", PATH)
    clock.pass_by(LIFETIME_SECONDS + LEEWAY_SECONDS + 1)
    assert verifier.verify(signer.issue("sessions", "GET", PATH), "GET", PATH) == "gateway"


def test_a_clock_that_was_ahead_for_a_moment_forgets_nothing(
    signer: Signer, verifier: Verifier, clock: Clock
) -> None:
    token = signer.issue("sessions", "GET", PATH)
    verifier.verify(token, "GET", PATH)
    clock.now += 100
    verifier.verify(signer.issue("sessions", "GET", PATH), "GET", PATH)
    clock.now -= 99
    with pytest.raises(TokenRefusedError, match="used before"):
        verifier.verify(token, "GET", PATH)


def test_a_clock_set_back_forgets_nothing_when_its_time_comes_again(
    signer: Signer, verifier: Verifier, clock: Clock
) -> None:
    token = signer.issue("sessions", "GET", PATH)
    verifier.verify(token, "GET", PATH)
    clock.now -= 3600
    for seconds in (1800, 1790):
        clock.pass_by(seconds)
        verifier.verify(signer.issue("sessions", "GET", PATH), "GET", PATH)
    clock.pass_by(10)
    with pytest.raises(TokenRefusedError, match="used before"):
        verifier.verify(token, "GET", PATH)


def test_a_clock_set_back_fills_no_store(signer: Signer, clock: Clock) -> None:
    """The nonces of before must not keep those of after from being forgotten."""
    verifier = restarted(clock, nonce_limit=100)
    verifier.verify(signer.issue("sessions", "GET", PATH), "GET", PATH)
    clock.now -= 3600
    for _ in range(400):
        clock.pass_by(0.5)
        verifier.verify(signer.issue("sessions", "GET", PATH), "GET", PATH)


def test_an_unknown_issuer_is_refused(verifier: Verifier, clock: Clock) -> None:
    token = Signer("stranger", GATEWAY_KEY, clock).issue("sessions", "GET", PATH)
    with pytest.raises(TokenRefusedError, match="iss"):
        verifier.verify(token, "GET", PATH)


def test_another_key_under_a_known_name_is_refused(verifier: Verifier, clock: Clock) -> None:
    token = Signer("gateway", OTHER_KEY, clock).issue("sessions", "GET", PATH)
    with pytest.raises(TokenRefusedError, match="not a valid token"):
        verifier.verify(token, "GET", PATH)


def _claims(clock: Clock) -> dict[str, object]:
    now = clock()
    return {
        "iss": "gateway",
        "aud": "sessions",
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
        "jti": "0" * 32,
        "method": "GET",
        "path": PATH,
    }


def test_only_eddsa_is_accepted(verifier: Verifier, clock: Clock) -> None:
    """The classic: a symmetric token, or one without a signature."""
    for key, algorithm in (("x" * 64, "HS256"), ("", "none")):
        token = jwt.encode(_claims(clock), key, algorithm=algorithm)
        with pytest.raises(TokenRefusedError, match="not a valid token"):
            verifier.verify(token, "GET", PATH)


@pytest.mark.parametrize(
    "change",
    [
        lambda claims: claims.pop("jti"),
        lambda claims: claims.pop("exp"),
        lambda claims: claims.pop("path"),
        lambda claims: claims.update(jti="short"),
        lambda claims: claims.update(iat=True),
        lambda claims: claims.update(exp=str(claims["exp"])),
        lambda claims: claims.update(exp=claims["exp"] + 3600),
        lambda claims: claims.update(aud=["sessions", "executor"]),
    ],
)
def test_a_signed_token_with_odd_claims_is_refused(
    verifier: Verifier, clock: Clock, change: Callable[[dict[str, object]], object]
) -> None:
    claims = _claims(clock)
    change(claims)
    token = jwt.encode(claims, GATEWAY_KEY, algorithm="EdDSA")
    with pytest.raises(TokenRefusedError):
        verifier.verify(token, "GET", PATH)


@pytest.mark.parametrize("token", ["", "a.b.c", "é", "\ud800", "{}", "." * 10_000])
def test_garbage_is_refused(verifier: Verifier, token: str) -> None:
    with pytest.raises(TokenRefusedError):
        verifier.verify(token, "GET", PATH)
