"""common.hashing: SHA-256 of files, canonical JSON (RFC 8785)."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import hashing
from common.cli import ScriptError
from common.hashing import BLOCK_BYTES, canonical_json, sha256_file, sha256_json

if TYPE_CHECKING:
    from pathlib import Path

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-9e15, 9e15)  # beyond 2**53 a float is written like an integer, and refused
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=20,
)


@given(st.binary(max_size=5000))
def test_a_files_hash_is_that_of_its_bytes(data: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        assert sha256_file(file.name) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3_000_001])
def test_sizes_around_the_block(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "x").write_bytes(data)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()


@pytest.mark.skipif(os.name == "nt", reason="needs symlinks and FIFOs")
def test_links_and_special_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    (tmp_path / "link").symlink_to("x")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="symbolic"):
        sha256_file(tmp_path / "link")
    with pytest.raises(ScriptError, match="regular file"):
        sha256_file(tmp_path / "fifo")
    with pytest.raises(ScriptError, match="regular file"):
        sha256_file(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="needs symlinks")
def test_without_o_nofollow_a_link_is_refused_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has no such flag."""
    monkeypatch.setattr(hashing, "_FLAGS", hashing._FLAGS & ~os.O_NOFOLLOW)
    monkeypatch.setattr(hashing, "_NO_FOLLOW", 0)
    (tmp_path / "x").write_text("x")
    (tmp_path / "link").symlink_to("x")
    assert sha256_file(tmp_path / "x") == hashlib.sha256(b"x").hexdigest()
    with pytest.raises(OSError, match="symbolic"):
        sha256_file(tmp_path / "link")


def test_a_file_that_grows_is_refused_and_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(bytes(2 * BLOCK_BYTES))
    # Every block is full, so that only the length from the start ends the reading.
    monkeypatch.setattr(os, "read", lambda _handle, size: bytes(size))
    with pytest.raises(ScriptError, match="changed while it was hashed"):
        sha256_file(tmp_path / "x")


@given(JSON)
def test_canonical_json_reads_back_and_is_stable(value: object) -> None:
    data = canonical_json(value)
    assert canonical_json(json.loads(data)) == data


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 9)))
def test_key_order_does_not_matter(value: dict[str, int]) -> None:
    assert sha256_json(value) == sha256_json(dict(reversed(value.items())))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, {"a": [2**60]}, "\ud800"])
def test_values_without_canonical_json_are_refused(value: object) -> None:
    with pytest.raises(ScriptError, match="canonical JSON"):
        canonical_json(value)
