"""Secrets: length, strength, reuse (K1): broken and good."""

from __future__ import annotations

import base64
import random
import string
from typing import TYPE_CHECKING

import pytest
from fakes.configuration import OTHER, STRONG
from hypothesis import given
from hypothesis import strategies as st

from configuration.settings import is_secret_name
from configuration.strength import weakness

if TYPE_CHECKING:
    from fakes.configuration import Configured


def test_a_made_secret_is_checked_by_making_one(configured: Configured) -> None:
    """Not by belief: the same function makes it as for a run."""
    configured.environ = {"FAKE_KEY": ""}
    found = configured.result("secret-length")
    assert found.outcome == "passed"
    assert any("FAKE_KEY (made for a run)" in row.place for row in found.rows)
    assert configured.outcome("secret-strength") == "passed"


def test_a_made_secret_that_is_short_fails(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured.environ = {"FAKE_KEY": ""}
    monkeypatch.setattr("configuration.gather.make_secret", lambda: "9f1c7be2a05d4683")
    assert "expected a secret of 32 characters or more, got 16" in configured.problems(
        "secret-length"
    )


@pytest.mark.parametrize(("length", "outcome"), [(31, "failed"), (32, "passed")])
def test_the_shortest_secret_has_32_characters(
    configured: Configured, length: int, outcome: str
) -> None:
    configured.environ = {"FAKE_KEY": STRONG[:length]}
    assert configured.outcome("secret-length") == outcome


def test_secrets_of_env_files_urls_and_services_count(configured: Configured) -> None:
    configured.env_file("SOME_API_KEY=short1\nPLAIN=short2\n")
    configured.tell(DATABASE_URL="postgresql://me:short3@127.0.0.1/x", GITHUB_TOKEN="short4")
    said = configured.problems("secret-length")
    assert "settings.env:1: SOME_API_KEY" in said
    assert "DATABASE_URL (password in the URL)" in said
    assert "environment.GITHUB_TOKEN" in said
    assert "PLAIN" not in said


def test_secret_files_of_compose_are_read(configured: Configured) -> None:
    configured.compose(secrets={"DB": {"file": "./db.txt"}, "NONE": {"file": "./none.txt"}})
    path = configured.folder / "db.txt"
    path.write_text("short\n")
    said = configured.problems("secret-length")
    assert "secrets.DB: expected a secret of 32 characters or more, got 5" in said
    assert "secrets.NONE: the file of the secret is missing" in said
    path.write_text(f"{OTHER}\n")
    assert "secrets.DB" not in configured.problems("secret-length")


WEAK = [
    ("a" * 40, "one character"),
    ("abc123" * 8, "repeats a block of 6"),
    (STRONG[:16] * 3 + STRONG[:5], "repeats a block of 16"),
    (string.ascii_lowercase + "0123456789", "sequence"),
    ("qwertyuiopasdfghjklzxcvbnmqwertyuiop", "sequence|repeats"),
    ("0123456789abcdef0123456789abcdef", "repeats"),
    ("please-change-this-secret-password-for-production", "made of words"),
    ("my-super-secret-p4ssw0rd-f0r-testing", "made of words"),
    ("aaaaaaaaaabbbbbbbbbbccccccccccdddd", "sequence"),
    ("a1a2a1a1a2a2a1a1a2a1a2a2a2a1a1a2a1a1", "bits"),
]


@pytest.mark.parametrize(("value", "why"), WEAK)
def test_a_weak_secret_is_found(configured: Configured, value: str, why: str) -> None:
    configured.environ = {"FAKE_KEY": value}
    found = configured.result("secret-strength")
    assert found.outcome == "failed"
    assert any(word in found.problems[0].problem for word in why.split("|"))
    assert value not in str(found.rows)


@given(seed=st.integers(0, 2**64), kind=st.sampled_from(["hex", "long-hex", "base64", "letters"]))
def test_random_secrets_are_never_called_weak(seed: int, kind: str) -> None:
    """A check that cries wolf gets waived."""
    source = random.Random(seed)  # noqa: S311 - the same examples every time
    raw = source.randbytes(32)
    texts = {
        "hex": raw[:16].hex(),
        "long-hex": raw.hex(),
        "base64": base64.urlsafe_b64encode(raw[:24]).decode(),
        "letters": "".join(source.choices(string.ascii_letters + string.digits, k=32)),
    }
    assert weakness(texts[kind]) == ""


def test_one_value_for_two_purposes_is_found(configured: Configured) -> None:
    configured.env_file(f"ADMIN_PASSWORD={OTHER}\nAPI_TOKEN={STRONG}\n")
    said = configured.problems("secret-reuse")
    assert "several purposes (API_TOKEN, FAKE_KEY)" in said
    assert "ADMIN_PASSWORD" not in said


def test_one_variable_as_password_and_as_signing_key_is_found(configured: Configured) -> None:
    service = {"image": "app", "environment": {"DB_PASSWORD": "${P}", "JWT_SECRET": "${P}"}}
    configured.compose({"front": service})
    configured.environ = {"P": OTHER}
    assert "several purposes (DB_PASSWORD, JWT_SECRET)" in configured.problems("secret-reuse")


def test_one_secret_under_the_name_that_each_program_knows_is_fine(configured: Configured) -> None:
    service = {"POSTGRES_PASSWORD": "${P}", "PGPASSWORD": "${P}", "URL": "postgresql://u:${P}@db/x"}
    configured.compose({"front": {"image": "app", "environment": service}})
    configured.env_file(f"P_PASSWORD={OTHER}\n")
    configured.environ = {"P": STRONG, "FAKE_KEY": "41d8e0b7c3f92a6588d107ce3b9fa264"}
    assert configured.problems("secret-reuse") == ""


@pytest.mark.parametrize(
    "name",
    ["PASSWORD", "DB_PASSWORD", "POSTGRES_PASSWD", "ADMIN_PWD", "JWT_SECRET", "SECRET_KEY",
     "API_KEY", "apikey", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "TLS_PRIVATE_KEY",
     "PASSWORD_2", "KEY_PASSPHRASE", "spring.datasource.password", "DB_PASS"],
)  # fmt: skip
def test_a_name_of_a_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["DB_PASSWORD_FILE", "TOKEN_URL", "PWD", "OLDPWD", "MAX_TOKENS", "TOKEN_TTL", "SSH_KEY_PATH",
     "PUBLIC_KEY", "PASSWORD_LENGTH", "SECRETS_FOLDER", "BYPASS", "COMPASS"],
)  # fmt: skip
def test_a_name_of_no_secret(name: str) -> None:
    assert not is_secret_name(name)
