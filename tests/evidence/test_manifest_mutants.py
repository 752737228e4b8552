"""evidence.manifest, where mutants lived: which line is refused, and in which words (H8)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from evidence import hash_tree
from evidence.files import ArtifactError
from evidence.manifest import ManifestError, build, digest_of, named_paths, parse, render

if TYPE_CHECKING:
    from pathlib import Path

ZEROS, ONES = "0" * 64, "1" * 64


def refusal(text: str) -> str:
    with pytest.raises(ManifestError) as caught:
        parse(text.encode())
    return str(caught.value)


def line(path: str, digest: str = ZEROS) -> str:
    return f"{digest}  ./{path}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected at least one line and a final newline, got an empty manifest"),
        (
            line("a") + "x" * 30,
            f"expected at least one line and a final newline, got '{'x' * 20}'",
        ),
        (
            line("a") + line("b") + f"{ONES}  ./c\r\n" + "d\r\n",
            "line 3: expected LF line ends, got CR (CRLF)",
        ),
        (line("a") + "nonsense\n", "line 2: expected '<hex>  ./<path>', got 'nonsense'"),
        (
            line("a/../b"),
            (
                "line 1: expected a path below evidence/ without '..', '.' or empty parts and not "
                "absolute, got 'a/../b'"
            ),
        ),
        (line("a") + line("a", ONES), "line 2: expected each path once, got 'a' twice"),
        (
            line("b") + line("a"),
            f"line 2: expected sorted lines, got '{ZEROS}  ./a' too late",
        ),
    ],
)
def test_a_refusal_names_line_expected_and_got(text: str, says: str) -> None:
    assert refusal(text) == says


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("A", "a", "got 'A' and 'a'"),
        ("logs/A", "logs/a", "got 'logs/A' and 'logs/a'"),
        ("A/x", "a/y", "got 'A' and 'a'"),
        ("top/A/deep/x", "top/a/deep/y", "got 'top/A' and 'top/a'"),
        ("a/b/c/X/1", "a/b/c/x/2", "got 'a/b/c/X' and 'a/b/c/x'"),
    ],
)
def test_names_that_one_folder_would_merge_are_refused(first: str, second: str, names: str) -> None:
    """Folders at any depth count too: on such a system one would hide the other."""
    text = "".join(sorted([line(first), line(second, ONES)]))
    assert refusal(text) == f"expected names that differ after case folding, {names}"


def test_names_that_differ_are_no_twins() -> None:
    text = line("a/x") + line("b/x", ONES)
    assert parse(text.encode()) == {"a/x": ZEROS, "b/x": ONES}


def test_a_line_that_only_looks_odd_keeps_its_digest() -> None:
    """The slow way gives the same answer as the quick one."""
    digests = {"a": ZEROS, "b": ONES}
    assert parse(render(digests)) == digests


def test_the_digest_of_the_named_file_is_found() -> None:
    data = render({"logs/a": ONES, "a": ZEROS})
    assert (digest_of("a", data), digest_of("logs/a", data)) == (ZEROS, ONES)
    with pytest.raises(ManifestError) as caught:
        digest_of("b", data)
    assert str(caught.value) == "expected 'b' in the manifest, got no such line"


def test_what_a_manifest_seems_to_name_is_read_without_a_check() -> None:
    assert named_paths(b"short\n" + line("a").encode() + b"\xff" * 70) == {"", "a", "\ufffd" * 2}


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_folder_that_cannot_be_sealed_says_why_and_how_much_more(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("nowhere")
    with pytest.raises(ArtifactError) as caught:
        build(tmp_path)
    wanted = "evidence can't be sealed: 'one': expected a regular file, got a symbolic link"
    assert str(caught.value) == wanted
    for more, name in enumerate(("two", "three"), 1):
        (tmp_path / name).symlink_to("nowhere")
        with pytest.raises(ArtifactError, match=rf"symbolic link \(and {more} more\)$"):
            build(tmp_path)


def test_a_file_that_no_thread_hashed_is_not_left_out_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"a")
    monkeypatch.setattr(hash_tree.TreeHashing, "finish", lambda _self: ({}, []))
    with pytest.raises(ArtifactError) as caught:
        build(tmp_path)
    assert str(caught.value) == "evidence can't be sealed: 'a': expected a digest, got none"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        build(tmp_path / "none")
    assert str(caught.value).startswith(f"can't list {tmp_path / 'none'}: ")
