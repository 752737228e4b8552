"""Canonical JSON and strict reading: one value, one byte string, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cli import ConfigurationError
from common.documents import parse_json
from common.hashing import canonical_json, sha256_json

# Beyond 2**53 a float is written as an integer that a reader refuses: it fails closed.
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
PLAIN = st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any) -> Any:
    """The same value with the keys of every object in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(VALUES)
def test_the_order_of_keys_changes_no_byte(value: object) -> None:
    assert canonical_json(value) == canonical_json(shuffled(value))


@given(VALUES)
def test_what_is_read_back_is_the_same_value_and_the_same_bytes(value: object) -> None:
    data = canonical_json(value)
    assert parse_json(data, "x") == value
    assert canonical_json(parse_json(data, "x")) == data


@given(VALUES)
def test_white_space_of_another_writer_changes_no_hash(value: object) -> None:
    pretty = json.dumps(value, indent=3, ensure_ascii=False)
    assert sha256_json(parse_json(pretty, "x")) == sha256_json(value)


@given(VALUES, VALUES)
def test_two_values_have_one_hash_only_if_they_are_equal(first: object, second: object) -> None:
    # 1 == True and 0.0 == -0 in Python: compare what JSON says of them.
    same = canonical_json(first) == canonical_json(second)
    assert (sha256_json(first) == sha256_json(second)) == same


@given(KEYS, VALUES, VALUES)
def test_a_key_that_stands_twice_is_refused(key: str, first: object, second: object) -> None:
    name = json.dumps(key)
    text = f"{{{name}: {json.dumps(first)}, {name}: {json.dumps(second)}}}"
    with pytest.raises(ConfigurationError, match="stands twice"):
        parse_json(text, "x")
