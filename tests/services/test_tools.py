"""The executor's file tool: no path leads out of the sandbox (G3c)."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from services.executor.policy.data import FileLimits, parse
from services.executor.policy.denied import DeniedError
from services.executor.policy.install import SHIPPED
from services.executor.tools import files, kernel, names, sandbox
from services.executor.tools.sandbox import NotThereError, Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

links = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and FIFOs")


@pytest.fixture
def limits() -> FileLimits:
    return parse((SHIPPED / "tools.yaml").read_bytes()).limits.file


@pytest.fixture(params=["openat2", "openat", "by-name"])
def box(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox beside a secret, walked in each way that there is."""
    if request.param != "by-name" and not sandbox.HAS_OPENAT:
        pytest.skip("this system has no openat")
    if request.param == "openat2" and not kernel.has_openat2():
        pytest.skip("this system has no openat2")
    monkeypatch.setattr(sandbox, "HAS_OPENAT", request.param != "by-name")
    monkeypatch.setattr(kernel, "has_openat2", lambda: request.param == "openat2")
    (tmp_path / "secret.txt").write_text("secret", encoding="ascii")
    made = Sandbox(tmp_path / "sandbox")
    made.write("inside.txt", b"inside\n")
    made.write("folder/deep.txt", b"deep\n")
    return made


# --- the names that a path may have --------------------------------------------------------


@pytest.mark.parametrize("text", ["a", "a/b", "a.txt", "a/b/c/d/e/f/g/h", "_x-1.tar.gz"])
def test_plain_names_are_allowed(text: str) -> None:
    assert names.split_path(text) == tuple(text.split("/"))


HOSTILE_PATHS = [
    "", "..", "../secret.txt", "folder/../../secret.txt", "folder/..", "./inside.txt", "/",
    "/etc/passwd", "//etc/passwd", "C:/Windows", "c:secret", "\\\\host\\share", "..\\secret.txt",
    "folder\\..\\..\\secret.txt", "inside.txt\0.png", "a\nb", "%2e%2e/secret.txt", "..%2fsecret",
    "%252e%252e/x", "\uff0e\uff0e/secret.txt", "\u2025/secret.txt", "a\u202eb", "~", "~/x", "~root",
    "$HOME", "${HOME}", "`id`", "$(id)", "a;b", "a|b", "*", "?", "inside.txt/", "/inside.txt",
    "folder//deep.txt", ".hidden", "a.", "a ", " a", "con", "NUL", "nul.txt", "COM1", "lpt9.log",
    "inside.txt:stream", "inside.txt::$DATA", "-rf", "--help", "a" * 101, "/".join("a" * 9),
    "/proc/self/environ", "proc/../../../etc/passwd", "/dev/zero", "\ud800", "\xe9", "....//secret",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE_PATHS)
def test_hostile_paths_are_refused(box: Sandbox, limits: FileLimits, text: str) -> None:
    for operation in ("read", "list"):
        with pytest.raises(DeniedError):
            files.run(limits, box, operation, text, None)
    with pytest.raises(DeniedError):
        files.run(limits, box, "write", text, "x")
    assert (box.root.parent / "secret.txt").read_text("ascii") == "secret"
    assert sorted(path.name for path in box.root.parent.iterdir()) == ["sandbox", "secret.txt"]


# --- the file tool -------------------------------------------------------------------------


def test_what_is_written_is_read_and_listed(box: Sandbox, limits: FileLimits) -> None:
    assert files.run(limits, box, "write", "new/a.txt", "text é") == "wrote 7 bytes"
    assert files.run(limits, box, "read", "new/a.txt", None) == "text é"
    assert files.run(limits, box, "write", "new/a.txt", "") == "wrote 0 bytes"
    assert files.run(limits, box, "read", "new/a.txt", None) == ""
    assert files.run(limits, box, "list", "new", None) == (
        '[{"name": "a.txt", "kind": "file", "size_bytes": 0}]'
    )
    assert [entry.name for entry in box.list(".", 10)] == ["folder", "inside.txt", "new"]


def test_what_is_not_there_is_said_so(box: Sandbox) -> None:
    for path in ("none.txt", "none/deep.txt", "inside.txt/deep.txt"):
        with pytest.raises(NotThereError):
            box.read(path, 10)
    with pytest.raises(NotThereError):
        box.list("inside.txt", 10)
    with pytest.raises(NotThereError):
        box.write("inside.txt/deep.txt", b"x")


@links
@pytest.mark.parametrize("target", ["secret.txt", "none.txt", "sandbox/inside.txt"])
def test_a_symbolic_link_is_refused(box: Sandbox, target: str) -> None:
    (box.root / "link").symlink_to(box.root.parent / target)
    for attempt in (lambda: box.read("link", 10), lambda: box.write("link", b"x")):
        with pytest.raises(DeniedError):
            attempt()
    assert (box.root.parent / "secret.txt").read_text("ascii") == "secret"
    assert not (box.root.parent / "none.txt").exists()


@links
def test_a_linked_folder_is_refused(box: Sandbox) -> None:
    (box.root / "link").symlink_to(box.root.parent, target_is_directory=True)
    for attempt in (
        lambda: box.read("link/secret.txt", 10),
        lambda: box.write("link/new.txt", b"x"),
        lambda: box.list("link", 10),
    ):
        with pytest.raises(DeniedError):
            attempt()
    assert not (box.root.parent / "new.txt").exists()


@links
def test_a_hard_link_is_refused(box: Sandbox) -> None:
    os.link(box.root.parent / "secret.txt", box.root / "twin.txt")
    with pytest.raises(DeniedError, match="hard_link"):
        box.read("twin.txt", 10)
    with pytest.raises(DeniedError, match="hard_link"):
        box.write("twin.txt", b"x")


@links
def test_a_fifo_is_refused_without_waiting_for_a_writer(box: Sandbox) -> None:
    os.mkfifo(box.root / "fifo")
    with pytest.raises(DeniedError):
        box.read("fifo", 10)
    assert next((e.name, e.kind) for e in box.list(".", 10)) == ("fifo", "other")


@links
def test_an_entry_swapped_for_a_link_after_its_check_is_refused(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race between check and use, made certain: the check sees the harmless state."""
    if not sandbox.HAS_OPENAT:
        pytest.skip("the walk by name can't see this race (documented)")
    (box.root / "inside.txt").unlink()
    (box.root / "inside.txt").symlink_to(box.root.parent / "secret.txt")
    monkeypatch.setattr(sandbox, "_check_plain_file", lambda _status: None)
    with pytest.raises(DeniedError, match="changed while"):
        box.read("inside.txt", 10)


def test_the_size_limits_hold(box: Sandbox, limits: FileLimits) -> None:
    tight = limits.model_copy(update={"size_limit_bytes": 4})
    with pytest.raises(DeniedError, match="larger"):
        files.run(tight, box, "read", "inside.txt", None)
    with pytest.raises(DeniedError, match="at most 4"):
        files.run(tight, box, "write", "a", "12345")
    for full in ({"total_limit_bytes": 12}, {"entries_limit": 3}):
        with pytest.raises(DeniedError, match="full"):
            files.run(limits.model_copy(update=full), box, "write", "a", "x")


def test_content_belongs_to_a_write_and_only_there(box: Sandbox, limits: FileLimits) -> None:
    for operation, content in (("write", None), ("read", "x"), ("list", "x")):
        with pytest.raises(files.ArgumentsError):
            files.run(limits, box, operation, "a", content)


def test_a_failed_write_leaves_nothing(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        box.write("inside.txt", b"half")
    assert (box.root / "inside.txt").read_bytes() == b"inside\n"
    assert sorted(path.name for path in box.root.iterdir()) == ["folder", "inside.txt"]


# --- a folder that belongs to somebody else ------------------------------------------------


@pytest.fixture
def foreign() -> Iterator[Sandbox]:
    """A sandbox of a plain user, with a folder in it that this user may not write."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        made = Sandbox(Path(name) / "sandbox")
        made.write("foreign/old.txt", b"old")
        (made.root / "foreign").chmod(0o555)
        user = os.geteuid()
        if user == 0:
            for path in (made.root, *made.root.rglob("*")):
                os.chown(path, 12345, -1)
            os.seteuid(12345)
        try:
            yield made
        finally:
            os.seteuid(user)
            (made.root / "foreign").chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX users")
@pytest.mark.parametrize("path", ["foreign/new.txt", "foreign/old.txt", "foreign/deep/new.txt"])
def test_a_folder_of_somebody_else_is_refused_and_no_failure(foreign: Sandbox, path: str) -> None:
    """It was status 500 (seen in containers, 2026-11-21)."""
    with pytest.raises(DeniedError, match="can't be written"):
        foreign.write(path, b"new")
    assert [item.name for item in foreign.list("foreign", 9)] == ["old.txt"]
    assert foreign.read("foreign/old.txt", 9) == b"old"
