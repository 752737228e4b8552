"""The redactor: no secret in any form enters evidence (P7, G3d)."""

from __future__ import annotations

import base64
import html
import json
import runpy
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cli import ConfigurationError
from evidence.redact import Redactor, environment

if TYPE_CHECKING:
    from collections.abc import Callable

# By path: `evidence` names the package in scripts/, so this folder can't be imported from.
_samples = runpy.run_path(str(Path(__file__).with_name("test_junit.py")))
SECRET = 'pä"ss/wörd+&\\<1>'
LETTERS = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGh"
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIo\nabc==\n-----END EC PRIVATE KEY-----"
# Put together here, so that no scanner of repositories finds a token in this file.
SHAPES = {
    "bearer": ("Bearer ", LETTERS),
    "basic": ("Basic ", base64.b64encode(b"user:opensesame").decode()),
    "authorization": ("Authorization: Token ", "abcd1234efgh"),
    "authorization header in JSON": ('{"Authorization": "Bearer ', "abcd1234efgh"),
    "jwt": ("id=x ", "eyJ" + "hbGciOi.eyJ" + "zdWIiOiI.c2ln"),
    "private key": ("", PEM),
    "cut private key": ("", PEM[:45]),
    "private key in JSON": ("", json.dumps(PEM)[1:-1]),
    "url": ("postgres://user:", "opensesame@db"),
    "url password with @": ("redis://:", "open@sesame@db"),
    "aws": ("key ", "AKIA" + "ABCDEFGHIJKLMNOP"),
    "github": ("x", "ghp_" + LETTERS[:36]),
    "github fine": ("x", "github_pat_" + LETTERS[:40]),
    "slack": ("x ", "xoxb-" + "123456789012-abcdef"),
    "google": ("x ", "AIza" + LETTERS[:35]),
    "stripe": ("x ", "sk_live_" + LETTERS[:24]),
    "password": ("PASSWORD=", "hunter22"),
    "numeric password": ("password: ", "12345678"),
    "prefixed": ("DB_PASSWORD=", "hunter22"),
    "secret": ("client_secret = '", "two words"),
    "token": ("X-Service-Token: ", "abcd1234"),
    "api key": ('"api_key": "', "abcd1234"),
    "escaped JSON": ('\\"api_key\\": \\"', "abcd1234"),
    "url token": ("https://", "abcdef1234567890@host"),
    "url token of git": ("git+https://", LETTERS[:20] + "@host/repository.git"),
    "url token before a password": ("https://", LETTERS[:24] + ":x-oauth-basic@host"),
    "gitlab": ("x ", "glpat-" + LETTERS[:20]),
    "gitlab with a dot": ("x ", "glpat-" + LETTERS[:27] + ".01.1a2b3c4d5"),
    "npm": ("x", "npm_" + LETTERS[:36]),
    "model": ("key ", "sk-" + LETTERS[:32]),
    "model of a project": ("key ", "sk-proj-" + LETTERS[:20] + "_-" + LETTERS[:20]),
    "cookies": ("Cookie: ", "sid=31d4; theme=dark"),
    "set-cookie": ("set-cookie: ", "sid=31d4d96e; Path=/; HttpOnly"),
    "quoted cookie": ("Set-Cookie: ", 'sid="31d4d96e"; Path=/'),
    "cookie in JSON": ('{"Set-Cookie": "', "sid=31d4d96e; Path=/"),
    "cookie with a token": ("Cookie: ", "a=eyJ" + "hbGciOi.eyJ" + "zdWIiOiI.c2ln; sid=31d4d96e"),
    "cookie in a tuple": ("(b'set-cookie', b'", "sid=31d4d96e"),
    "pass in YAML": ("DB_PASS: ", "hunter22"),
    "pass in an environment": ("export SMTP_PASS=", "hunter22"),
    "signed url": ("https://host/x?sig=", "aB3%2Fabcd1234"),
    "signed url in JSON": ("https://host/x?a=b\\u0026sig=", "aB3%2Fabcd1234"),
    "amazon signature": ("https://host/x?a=b&X-Amz-Signature=", "0a" * 32),
    "azure": ("AccountName=x;AccountKey=", "abcd1234" * 11 + "=="),
    "query": ("https://host/?access_token=", "abcd1234"),
}
PROSE = [
    "no cookie: none was kept",
    "cookies kept between jobs: 0",
    "12 golden_passed: 4711",
    "ssh://git@host/repository.git",
    "postgres://proofpack@localhost:5432/jobs",
    "https://a-long-host-name.example.internal:8443/path?by=me@host",
    "risk-assessment-of-the-disk-1234567890123456",
    "sk-this-is-a-name-made-of-words",
    "npm_config_registry",
    "?design=abcdefgh&assign=abcdefgh",
    f"./evidence/executor_logs.txt {'0123456789abcdef' * 4}",
    f"traceparent: 00-{'4bf92f3577b34da6' * 2}-00f067aa0ba902b7-01",
    "proof_pack_artifacts/20261120-234512-2/evidence/run_summary.json",
    "Basic authentication is refused",
    "unexpected token: comma",
    "12 tokens: 4711",
    "no-token-is-refused: passed",
    '"password": null',
    "https://example.com:8080/path@here",
    "the bearer of news",
    "a" * 64,
    "job 7f6c1de2-6e0f-4f7e-9be0-0c6ac6f9ce10 completed",
    "GET http://127.0.0.1:7050/api/v1/jobs 201",
]


@pytest.mark.parametrize("name", SHAPES)
def test_known_shapes_are_redacted(name: str) -> None:
    before, secret = SHAPES[name]
    text = Redactor().text(f"line one\n{before}{secret}\nlast line")
    hidden = secret.partition("@host")[0].removesuffix("@db")
    assert hidden not in text
    assert not any(len(word) > 5 and word in text for word in hidden.split("\n")[1:-1])
    assert "[redacted:" in text
    assert text.startswith("line one\n")


@pytest.mark.parametrize("text", PROSE)
def test_plain_text_stays(text: str) -> None:
    assert Redactor().text(text) == text


FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda secret: secret,
    "url": lambda secret: quote(secret, safe=""),
    "url lower": lambda secret: quote(secret, safe="").lower(),
    "json": lambda secret: json.dumps({"x": secret}),
    "json utf-8": lambda secret: json.dumps({"x": secret}, ensure_ascii=False),
    "html": html.escape,
    "python": lambda secret: repr({"x": secret}),
    "hex": lambda secret: secret.encode().hex(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 at 1": lambda secret: base64.b64encode(b"u" + secret.encode() + b"tail").decode(),
    "base64 at 2": lambda secret: base64.b64encode(b"u:" + secret.encode() + b"t").decode(),
    "base64 url": lambda secret: base64.urlsafe_b64encode(b"u:" + secret.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", [SECRET.lower(), "12345678", "two words and more", "???>>>~~~"])
def test_exact_secrets_are_found_in_every_form(form: str, secret: str) -> None:
    written = FORMS[form](secret)
    text = Redactor([secret]).text(f"before {written} after")
    assert "[redacted:secret]" in text
    assert text.startswith("before ")
    assert written not in text


def test_a_real_summary_stays_as_it_is() -> None:
    """Digests, run ids, trace ids, paths and versions of our own evidence are no secrets."""
    summary = _samples["sample_summary"]()
    assert Redactor().value(summary) == summary
    text = json.dumps(summary, indent=2)
    assert Redactor().text(text) == text


def test_headers_of_an_answer_keep_no_cookie() -> None:
    headers = {"Set-Cookie": "sid=31d4d96e", "cookie": "a=b", "cookies": "none", "DB_PASS": "x"}
    clean = {"Set-Cookie": "[redacted:assignment]", "cookie": "[redacted:assignment]"}
    assert Redactor().value(headers) == {**headers, **clean, "DB_PASS": "[redacted:assignment]"}


def test_keys_and_nested_values_are_redacted() -> None:
    redactor = Redactor(["opensesame"])
    value = redactor.value({"opensesame": [{"deep": ("x opensesame",)}, 1, None, True, 2.5]})
    assert value == {"[redacted:secret]": [{"deep": ["x [redacted:secret]"]}, 1, None, True, 2.5]}


def test_a_value_under_a_secret_name_is_redacted() -> None:
    value = {"db_password": "hunter22", "token_count": 7, "no-token-is-refused": "passed"}
    assert Redactor().value(value) == {**value, "db_password": "[redacted:assignment]"}


def test_secrets_can_be_learnt_later() -> None:
    redactor = Redactor()
    redactor.add("")
    redactor.add("opensesame")
    assert redactor.text("say opensesame") == "say [redacted:secret]"


def test_a_secret_too_short_to_be_found_is_refused_without_naming_it() -> None:
    with pytest.raises(ConfigurationError, match="8 characters or more, got 3") as caught:
        Redactor(["xyz"])
    assert "xyz" not in str(caught.value)


@given(st.text(max_size=60), st.sampled_from(sorted(SHAPES)), st.text(max_size=60))
def test_redacting_twice_changes_nothing(before: str, shape: str, after: str) -> None:
    redactor = Redactor(["redacted", "opensesame"])
    once = redactor.text(before + "".join(SHAPES[shape]) + after)
    assert redactor.text(once) == once


@pytest.mark.parametrize(
    "unit",
    ["eyJ", "eyJa.", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "://a:", "password", "password=",
     'secret":"', "bearer ", "basic aaaaaaaa ", "authorization: ", "AKIA", "xoxb-", "token_", "a",
     "-", "gh", "cookie: a=", "cookie:", 'cookie: a="', "sk-", "glpat-", "npm_", "&sig=", "a_pass",
     "://aaaaaaaa", "://aaaaaaaa:", "://aaaaaaaaaaaaaaaaaaaaaaaa@", "[redacted:",
     "hooks.slack.com/services/", "key \\\\\\"],
)  # fmt: skip
def test_hostile_text_takes_linear_time(unit: str) -> None:
    # A pattern that backtracks would need hours for a megabyte: the test would never end.
    text = unit * (1_000_000 // len(unit))
    Redactor(["opensesame"]).text(text)


def test_environment_enters_by_name_only() -> None:
    source = {"LANG": "C", "HOME": "/root", "CLIENT_TOKEN": "opensesame"}
    assert environment(["LANG", "TZ"], source) == {"LANG": "C"}
    assert environment(environ=source) == {"LANG": "C"}
    assert environment([], source) == {}


@pytest.mark.parametrize(
    "text",
    ["tiktoken==0.14.0", '"tokenizer_used": "proof-pack-4k"', "tokenisation: whole-words-2024"],
)
def test_a_tokenizer_is_no_token(text: str) -> None:
    """Seen 2026-11-21: the version of tiktoken was missing in a lock inventory."""
    assert Redactor().text(text) == text
    figures = {"tiktoken": "0.14.0", "tokenizer_requested": "cl100k"}
    assert Redactor().value(figures) == figures
    assert "abcd1234efgh" not in Redactor().text("service_token=abcd1234efgh")
    assert Redactor().value({"tokens": "abcd1234efgh"}) != {"tokens": "abcd1234efgh"}
