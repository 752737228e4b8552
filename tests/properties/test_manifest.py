"""The manifest: reading gives what was written, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evidence.manifest import ManifestError, digest_of, named_paths, parse, render

PARTS = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,7}", fullmatch=True)
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
DIGESTS = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
TREES = st.dictionaries(PATHS, DIGESTS, min_size=1, max_size=8)


def merges(tree: dict[str, str]) -> bool:
    """Whether a system that folds case would merge two of the names, folders included."""
    names = set()
    for path in tree:
        parts = path.split("/")
        names |= {"/".join(parts[: end + 1]) for end in range(len(parts))}
    return len({name.lower() for name in names}) < len(names)


@given(TREES)
def test_what_is_written_is_read_back(tree: dict[str, str]) -> None:
    assume(not merges(tree))
    assert parse(render(tree)) == tree
    assert named_paths(render(tree)) == {*tree, ""}
    assert all(digest_of(path, render(tree)) == digest for path, digest in tree.items())


@given(TREES)
def test_names_that_would_merge_are_refused(tree: dict[str, str]) -> None:
    path, digest = min(tree.items())
    twin = path.swapcase()
    assume(twin != path)
    with pytest.raises(ManifestError, match="case folding"):
        parse(render(tree | {twin: digest}))


@given(TREES, st.binary(max_size=80))
def test_bytes_are_read_only_if_they_are_what_would_be_written(
    tree: dict[str, str], noise: bytes
) -> None:
    """One tree has one manifest: whatever is accepted is written again byte for byte."""
    for data in (noise, render(tree) + noise, noise + render(tree)):
        try:
            found = parse(data)
        except ManifestError:
            continue
        assert render(found) == data
