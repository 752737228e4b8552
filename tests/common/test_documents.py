"""common.documents and common.schema: strict reading, errors that name their line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cli import ConfigurationError
from common.documents import parse_json, read_json, read_yaml
from common.schema import check_value

if TYPE_CHECKING:
    from pathlib import Path

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_json_reads_back_what_was_written(value: object) -> None:
    import json

    assert parse_json(json.dumps(value), "x") == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": 2}', "stands twice"),
        ('{"a": {"b": 1, "b": 1}}', "stands twice"),
        ('{"a": NaN}', "expected a JSON number, got NaN"),
        ("[Infinity]", "got Infinity"),
        ("{", "file:1: not JSON"),
        ("", "not JSON"),
        ("[" * 100_000, "file"),
        ('{"a": ' + "9" * 5000 + "}", "expected integers of at most 4300 digits"),
        ("-" + "9" * 5000, "file: expected integers"),
        ('{"a": 1}'.encode("utf-16"), "file: 'utf-8' codec"),
        ('{"a": 1}'.encode("utf-16-le"), "not JSON"),
        ('{"a": 1}'.encode("utf-8-sig"), "not JSON"),
        (b'"\xed\xa0\x80"', "file: 'utf-8' codec"),
    ],
    ids=range(13),
)
def test_loose_json_is_refused(text: str | bytes, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        parse_json(text, "file")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", r":3: the key 'a' stands twice \(first on line 1\)"),
        ("a: [1, 2\n", "not YAML"),
        ("a:\n  on: 1\n", ":2: expected a text as key, got on, which YAML reads as bool"),
        ("a:\n  1: x\n", ":2: expected a text as key, got 1, which YAML reads as int"),
        ("a: 1\nb: .nan\n", ":2: expected a value that JSON has, got .nan"),
        ("a: 2026-01-01\n", ":1: expected a value that JSON has, got 2026-01-01"),
        ("a: &x [*x]\n", "x.yaml"),
        ("a: !!python/object:os.system x\n", "not YAML"),
    ],
)
def test_bad_yaml_names_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        read_yaml(path)


def test_values_know_their_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a:\n  - b: 1\n  - b: 2\n")
    document = read_yaml(path)
    assert document.line_of(("a", 1, "b")) == 3
    assert document.line_of(("a", 1, "missing")) == 3


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_missing_file_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="can't read"):
        read_json(tmp_path / name)


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="expected UTF-8"):
        read_json(path)


def test_an_unknown_schema_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no schema"):
        check_value({}, "nothing", "x")
