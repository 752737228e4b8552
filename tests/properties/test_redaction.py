"""Redaction (P7, G3d): no secret stays, and what is clean stays as it is."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from evidence.redact import Redactor

# Printable, so that the forms below are what tools print; long enough to be told apart.
SECRETS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=24
).filter(lambda text: len(set(text)) > 5 and "redacted" not in text)
TEXTS = st.text(max_size=30)


@given(SECRETS, TEXTS, TEXTS)
def test_a_known_secret_stays_in_no_form(secret: str, before: str, behind: str) -> None:
    redactor = Redactor([secret])
    forms = (
        secret,
        json.dumps(secret)[1:-1],
        quote(secret, safe=""),
        secret.encode().hex(),
        base64.b64encode(secret.encode()).decode().rstrip("="),
    )
    for form in forms:
        # A blank keeps a letter of the text from becoming a part of the form.
        assert form not in redactor.text(f"{before} {form} {behind}")


@given(st.lists(SECRETS, max_size=2), TEXTS)
def test_redacting_twice_equals_once(secrets: list[str], text: str) -> None:
    redactor = Redactor(secrets)
    once = redactor.text("".join([text, *secrets, text]))
    assert redactor.text(once) == once


@given(
    st.recursive(
        TEXTS | st.integers() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    ),
    SECRETS,
)
def test_a_value_stays_json_without_the_secret(value: object, secret: str) -> None:
    redactor = Redactor([secret])
    clean = redactor.value({"x": value, "y": [f"see {secret}", {f"{secret}": 1}]})
    assert secret not in json.dumps(clean, ensure_ascii=False)
    assert redactor.value(clean) == clean


@given(st.text(st.sampled_from("abc xyz\n.,123"), max_size=60))
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert Redactor().text(text) == text
