"""Names and values: what promises a secret, and what is none after all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_secrets import Maker

from secret_scan import values
from secret_scan.names import judge_name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "password",
            "DB_PASSWORD",
            "dbPassword",
            "client_secret",
            "apiKey",
            "API_KEY",
            "authToken",
        ),
        *("AWS_SECRET_ACCESS_KEY", "spring.datasource.password", "signing-key", "ENC_KEY", "mypwd"),
        *("GITHUB_TOKEN", "accesstoken", "AUTH_SALT", "AZURE_DEVOPS_PAT", "token2"),
    ],
)
def test_such_a_name_promises_a_secret(name: str) -> None:
    assert judge_name(name).is_secret


@pytest.mark.parametrize(
    "name",
    [
        *(
            "password_hash",
            "tokenUrl",
            "secret_name",
            "PASSWORD_FIELD",
            "token_type",
            "key",
            "salt",
        ),
        *(
            "public_key",
            "primaryKey",
            "nextPageToken",
            "csrf_token",
            "compass",
            "passenger",
            "author",
        ),
        *("token_signing_alg", "oauth_consumer_key"),
        *("password_min_length", "secretArn", "tokenizer", "keyboard", "passwordUpdatedAt", "id"),
    ],
)
def test_such_a_name_promises_none(name: str) -> None:
    assert not judge_name(name).is_secret


@pytest.mark.parametrize("name", ["some_key", "cache_hash_key_name", "mountKey"])
def test_some_key_is_no_sure_secret(name: str) -> None:
    assert not judge_name(name).is_sure


@pytest.mark.parametrize(
    "value",
    [
        "changeme",
        "your-api-key",
        "xxxxxxxx",
        "********",
        "<password>",
        "example-key",
        "...",
        "o67..X",
    ],
)
def test_a_placeholder_is_told(value: str) -> None:
    assert values.is_placeholder(value)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "${PASSWORD}",
            "{{ vault.x }}",
            "$PASSWORD",
            "%(password)s",
            "os.environ['X']",
            "<%= x %>",
        ),
        *(
            "arn:aws:x",
            "https://a.b/c",
            "/run/secrets/db",
            "../keys/a.pem",
            "#{x}",
            "process.env.A",
        ),
        *("?Variable", "blue{$number}Is7", "::Sha256Hash.method", "ed25519-pkcs8.pem"),
        *("getenv('A')", "secrets.TOKEN", "sha256:abc", "ENC[AES,data:x]", "%s", "func()"),
    ],
)
def test_a_reference_is_told(value: str) -> None:
    assert values.is_reference(value)


@pytest.mark.parametrize(
    "value",
    [
        "userName",
        "user_name",
        "USER_NAME",
        "com.acme.Token",
        "test-token-2",
        "sha256",
        "a-b-c-k8s",
        "required|max:255",
        "base64Token",
    ],
)
def test_an_identifier_is_told(value: str) -> None:
    assert values.is_identifier(value) or values.is_common(value)


@pytest.mark.parametrize("field", ["{an:16}", "{an:40}", "{hex:32}", "{b64:44}", "{w:24}"])
def test_random_text_looks_random(field: str) -> None:
    """Chance makes words now and then: 95 of 100 have to be told."""
    told = sum(values.looks_random(Maker(seed).fill(field)) for seed in range(100))
    assert told >= 95


@pytest.mark.parametrize(
    "value",
    ["getAccessTokenFromHeader", "one-word-after-the-other", "password_confirmation", "short"],
)
def test_words_do_not_look_random(value: str) -> None:
    assert not values.looks_random(value)


@pytest.mark.parametrize(
    "value", ["Harbor-Sable-2041", "Orbit#2024$", "umber.3432!Harbor", "minio123"]
)
def test_a_chosen_password_is_told(value: str) -> None:
    assert values.looks_chosen(value)
    assert not values.is_identifier(value)
    assert not values.is_common(value)


def test_text_for_people_is_no_secret() -> None:
    assert values.is_sentence("Password must contain 12 characters")
    assert values.is_sentence("忘記密碼來變更的密碼為")
    assert not values.is_sentence(Maker(1).fill("{an:30}#!%&(+,;: {an:20}-=[]?"))


def test_base64_of_text_is_read() -> None:
    assert values.decoded("eHh4eHh4eHh4eHh4") == "xxxxxxxxxxxx"
    assert values.decoded("not base64!") is None


@given(st.text(max_size=600))
def test_judging_takes_any_text(text: str) -> None:
    judge_name(text[:80])
    for function in (
        *(values.is_placeholder, values.is_token_placeholder, values.is_reference),
        *(values.is_identifier, values.is_common, values.is_sentence, values.looks_random),
        *(values.looks_chosen, values.is_expression, values.is_time),
    ):
        assert function(text[: values.LONGEST_JUDGED]) in {True, False}
    values.decoded(text)
