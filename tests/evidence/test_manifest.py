"""The manifest: what is refused, and that `sha256sum` agrees with it."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.hashing import BLOCK_BYTES
from evidence.files import ArtifactError
from evidence.manifest import ManifestError, build, differences, digest_of, parse, render

if TYPE_CHECKING:
    from pathlib import Path

ZEROS, ONES = "0" * 64, "1" * 64
posix = pytest.mark.skipif(os.name != "posix", reason="needs links and special files")


def fill(folder: Path) -> Path:
    (folder / "logs").mkdir(parents=True)
    (folder / "b.txt").write_bytes(b"b")
    (folder / "a.txt").write_bytes(b"a" * 5000)
    (folder / "logs" / "empty").write_bytes(b"")
    return folder


def test_lines_are_sorted_as_the_recipe_sorts_them(tmp_path: Path) -> None:
    data = build(fill(tmp_path / "evidence"))
    lines = data.splitlines(keepends=True)
    assert lines == sorted(lines)
    assert f"{hashlib.sha256(b'b').hexdigest()}  ./b.txt\n".encode() in lines
    assert parse(data)["logs/empty"] == hashlib.sha256(b"").hexdigest()


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="needs GNU coreutils")
def test_sha256sum_accepts_it(tmp_path: Path) -> None:
    folder = fill(tmp_path / "evidence")
    (tmp_path / "manifest").write_bytes(build(folder))
    command = ["sha256sum", "--strict", "--quiet", "-c", str(tmp_path / "manifest")]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 0


def test_large_files_are_hashed_beside_small_ones(tmp_path: Path) -> None:
    folder = fill(tmp_path / "evidence")
    blocks = {f"large{number}": bytes([number]) * (BLOCK_BYTES + number) for number in range(1, 5)}
    for name, data in blocks.items():
        (folder / name).write_bytes(data)
    digests = parse(build(folder))
    assert {name: digests[name] for name in blocks} == {
        name: hashlib.sha256(data).hexdigest() for name, data in blocks.items()
    }


def test_a_file_left_unhashed_is_never_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "evidence")
    monkeypatch.setattr("evidence.hash_tree._hash_small", lambda *_: None)
    monkeypatch.setattr("evidence.hash_tree._hash_rest", lambda *_: None)
    with pytest.raises(ArtifactError, match="expected a digest, got none"):
        build(folder)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected files, got an empty folder"):
        build(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="can't list"):
        build(tmp_path / "none")


@posix
@pytest.mark.parametrize("kind", ["link", "dangling", "folder link", "fifo", "socket"])
def test_what_is_no_regular_file_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "evidence")
    odd = folder / "odd"
    if kind == "fifo":
        os.mkfifo(odd)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            monkeypatch.chdir(folder)  # a long tmp_path does not fit into an address
            made.bind("odd")
    else:
        target = {"link": "b.txt", "dangling": "none", "folder link": "logs"}[kind]
        odd.symlink_to(target)
    words = {"fifo": "a FIFO", "socket": "a socket"}.get(kind, "a symbolic link")
    with pytest.raises(ArtifactError, match=rf"'odd': expected a regular file, got {words}"):
        build(folder)


@posix
@pytest.mark.parametrize("name", ["two words", "new\nline", "back\\slash", "café", "a:b", "*"])
def test_odd_names_are_refused(name: str, tmp_path: Path) -> None:
    folder = fill(tmp_path / "evidence")
    (folder / name).write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"expected a name in \[A-Za-z0-9._/-\]") as caught:
        build(folder)
    assert str(caught.value).isprintable()


def test_case_fold_twins_are_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "evidence")
    (folder / "B.txt").write_bytes(b"")
    if len(list(folder.iterdir())) < 4:
        pytest.skip("needs a case-sensitive file system")
    with pytest.raises(ArtifactError, match="differ after case folding"):
        build(folder)


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    folder = fill(tmp_path / "evidence")
    (folder / "b.txt").chmod(0)
    with pytest.raises(ArtifactError, match=r"'b.txt': expected a readable file"):
        build(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an empty manifest"),
        (f"{ZEROS}  ./a", "final newline"),
        (f"{ZEROS}  ./a\r\n", "got CR"),
        (f"{ZEROS}  ./a\n\n", "line 2: expected '<hex>"),
        (f"{ZEROS} *./a\n", "line 1: expected '<hex>"),
        (f"{ZEROS}  a\n", "line 1: expected '<hex>"),
        (f"{ZEROS}  /a\n", "line 1: expected '<hex>"),
        (f"{ZEROS}  .//a\n", "not absolute"),
        (f"{ZEROS}  ./../a\n", "without '..'"),
        (f"{ZEROS}  ./a/../b\n", "without '..'"),
        (f"{ZEROS}  ./a/./b\n", "without '..'"),
        (f"{ZEROS}  ./a//b\n", "without '..'"),
        (f"{ZEROS}  ./a/\n", "without '..'"),
        (f"{ZEROS}  ./\n", "line 1: expected '<hex>"),
        (f"{ZEROS[:-1]}  ./a\n", "line 1: expected '<hex>"),
        (f"{'A' * 64}  ./a\n", "line 1: expected '<hex>"),
        (f"\\{ZEROS}  ./a\\nb\n", "line 1: expected '<hex>"),
        (f"{ZEROS}  ./a b\n", "line 1: expected '<hex>"),
        (f"{ZEROS}  ./a\n{ZEROS}  ./a\n", "line 2: expected each path once"),
        (f"{ZEROS}  ./a\n{ONES}  ./a\n", "line 2: expected each path once"),
        (f"{ONES}  ./a\n{ZEROS}  ./b\n", "line 2: expected sorted lines"),
        (f"{ZEROS}  ./a\n{ONES}  ./A\n", "case folding"),
        (f"{ZEROS}  ./a/x\n{ONES}  ./A/y\n", "case folding"),
        (f"{ZEROS}  ./é\n", "expected ASCII"),
        (f"{ZEROS}  ./a\x00\n", "line 1: expected '<hex>"),
    ],
)
def test_anything_but_our_own_form_is_refused(text: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(text.encode())
    assert words in str(caught.value)


PARTS = st.text("abc.-_09", min_size=1, max_size=5).filter(lambda part: part not in {".", ".."})
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(st.dictionaries(PATHS, DIGESTS, min_size=1))
def test_what_is_rendered_is_read_back(digests: dict[str, str]) -> None:
    assert parse(render(digests)) == digests


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    try:
        digests = parse(data)
    except ManifestError:
        return
    assert render(digests) == data


def test_one_digest_is_that_of_the_whole_path(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.json").write_bytes(b"inner")
    (tmp_path / "x.json").write_bytes(b"outer")
    lines = build(tmp_path)
    assert digest_of("x.json", lines) == hashlib.sha256(b"outer").hexdigest()
    assert digest_of("a/x.json", lines) == hashlib.sha256(b"inner").hexdigest()
    with pytest.raises(ManifestError, match="no such line"):
        digest_of("json", lines)


@pytest.mark.parametrize(
    ("expected", "got", "lines"),
    [
        ({"./a": "1"}, {"./a": "1"}, []),
        ({"./a": "1"}, {}, ["expected './a', got nothing: missing"]),
        ({}, {"./b": "2", "./a": "1"}, [
            "expected no such file, got './a': extra", "expected no such file, got './b': extra",
        ]),
        ({"./a": "1"}, {"./b": "1"}, ["expected './a', got './b': renamed"]),
        # Only one of two copies can be the renamed one.
        ({"./a": "1"}, {"./b": "1", "./c": "1"}, [
            "expected './a', got './b': renamed", "expected no such file, got './c': extra",
        ]),
        ({"./a": "1", "./b": "2"}, {"./a": "3", "./b": "2"}, ["'./a': expected 1, got 3: changed"]),
        ({"./a": "1", "./m": "5"}, {"./a": "2", "./x": "9"}, [
            "expected no such file, got './x': extra", "expected './m', got nothing: missing",
            "'./a': expected 1, got 2: changed",
        ]),
    ],
)  # fmt: skip
def test_each_difference_is_one_line(
    expected: dict[str, str], got: dict[str, str], lines: list[str]
) -> None:
    assert differences(expected, got) == lines
