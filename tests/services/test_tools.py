"""The executor's tools: whatever is not listed is denied, and no path leads out (G3b, G3c)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from fastapi.testclient import TestClient

from services.executor.app import build
from services.executor.tools import files, names, sandbox
from services.executor.tools.policy import POLICY_FILE, DeniedError, Policy, PolicyFile, parse
from services.executor.tools.routes import tool_policy
from services.executor.tools.sandbox import NotThereError, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from service_protocols import ServiceToken, SettingsFor

links = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and FIFOs")


@pytest.fixture
def policy() -> Policy:
    return parse(POLICY_FILE.read_bytes())


@pytest.fixture(params=["openat", "by-name"])
def box(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox beside a secret, walked in both ways that there are."""
    if request.param == "openat" and not sandbox.HAS_OPENAT:
        pytest.skip("this system has no openat")
    monkeypatch.setattr(sandbox, "HAS_OPENAT", request.param == "openat")
    (tmp_path / "secret.txt").write_text("secret", encoding="ascii")
    made = Sandbox(tmp_path / "sandbox")
    made.write("inside.txt", b"inside\n")
    made.write("folder/deep.txt", b"deep\n")
    return made


SHELL_POLICY = (
    "version: 1\nshell: {{path: {{posix: [/bin], windows: [x]}}, time_out_seconds: 1,"
    " output_limit_bytes: 9, commands: [{{program: echo, forms: [{form}]}}]}}"
)


# --- the policy fails closed ---------------------------------------------------------------


def test_the_shipped_policy_is_valid(policy: Policy) -> None:
    assert policy.shell is not None
    assert {command.program for command in policy.shell.commands} == {
        "echo", "date", "uname", "ls", "cat",
    }  # fmt: skip


def test_the_broken_policies_below_are_broken_by_their_form_alone() -> None:
    assert parse(SHELL_POLICY.format(form="{each: a}").encode()).shell is not None


def test_a_missing_policy_denies_everything(tmp_path: Path) -> None:
    with pytest.raises(DeniedError, match="no readable tool policy"):
        PolicyFile(tmp_path / "none.yaml").current()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "version: 2",
        "version: '1'",
        "version: 1\nunknown: {}",
        "version: 1\nversion: 1",
        "version: 1\nfile: {operations: [delete], size_limit_bytes: 1}",
        "version: 1\nfile: [",
        "version: 1\nfile: !!python/object/apply:os.system [id]",
        "version: 1\nbrowser: {size_limit_bytes: 0, time_out_seconds: 1}",
        SHELL_POLICY.format(form="{each: '('}"),
        SHELL_POLICY.format(form="{each: a, file: true}"),
        SHELL_POLICY.format(form="{}"),
        "\x00",
    ],
)
def test_an_invalid_policy_denies_everything(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tools.yaml"
    path.write_bytes(text.encode())
    with pytest.raises(ValueError, match=r".+"):
        parse(path.read_bytes())
    with pytest.raises(DeniedError, match="not valid"):
        PolicyFile(path).current()


def test_a_policy_change_works_at_once_and_a_broken_one_closes(tmp_path: Path) -> None:
    path = tmp_path / "tools.yaml"
    path.write_bytes(POLICY_FILE.read_bytes())
    file = PolicyFile(path)
    assert file.current().shell is not None
    path.write_text("version: 1", encoding="ascii")
    assert file.current().shell is None
    path.write_text("version: 1\nshel: {}", encoding="ascii")
    with pytest.raises(DeniedError):
        file.current()
    path.unlink()
    with pytest.raises(DeniedError):
        file.current()


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
def test_hostile_paths_are_refused(box: Sandbox, policy: Policy, text: str) -> None:
    assert policy.file is not None
    for operation in ("read", "list"):
        with pytest.raises(DeniedError):
            files.run(policy.file, box, operation, text, None)
    with pytest.raises(DeniedError):
        files.run(policy.file, box, "write", text, "x")
    assert (box.root.parent / "secret.txt").read_text("ascii") == "secret"
    assert sorted(path.name for path in box.root.parent.iterdir()) == ["sandbox", "secret.txt"]


# --- the file tool -------------------------------------------------------------------------


def test_what_is_written_is_read_and_listed(box: Sandbox, policy: Policy) -> None:
    assert policy.file is not None
    assert files.run(policy.file, box, "write", "new/a.txt", "text é") == "wrote 7 bytes"
    assert files.run(policy.file, box, "read", "new/a.txt", None) == "text é"
    assert files.run(policy.file, box, "write", "new/a.txt", "") == "wrote 0 bytes"
    assert files.run(policy.file, box, "read", "new/a.txt", None) == ""
    assert files.run(policy.file, box, "list", "new", None) == (
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
    with pytest.raises(DeniedError, match="hard link"):
        box.read("twin.txt", 10)
    with pytest.raises(DeniedError, match="hard link"):
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


def test_the_size_limits_hold(box: Sandbox, policy: Policy) -> None:
    assert policy.file is not None
    tight = policy.file.model_copy(update={"size_limit_bytes": 4})
    with pytest.raises(DeniedError, match="larger"):
        files.run(tight, box, "read", "inside.txt", None)
    with pytest.raises(DeniedError, match="at most 4"):
        files.run(tight, box, "write", "a", "12345")
    for full in ({"total_limit_bytes": 12}, {"entries_limit": 3}):
        with pytest.raises(DeniedError, match="full"):
            files.run(policy.file.model_copy(update=full), box, "write", "a", "x")


def test_an_operation_that_is_not_listed_is_denied(box: Sandbox, policy: Policy) -> None:
    assert policy.file is not None
    reader = policy.file.model_copy(update={"operations": ["read"]})
    with pytest.raises(DeniedError, match="not on the list"):
        files.run(reader, box, "write", "a", "x")
    for operation, content in (("write", None), ("read", "x"), ("list", "x")):
        with pytest.raises(files.ArgumentsError):
            files.run(policy.file, box, operation, "a", content)


def test_a_failed_write_leaves_nothing(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        box.write("inside.txt", b"half")
    assert (box.root / "inside.txt").read_bytes() == b"inside\n"
    assert sorted(path.name for path in box.root.iterdir()) == ["folder", "inside.txt"]


# --- over HTTP -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, "version: 1", "version: 1\nshell: broken"])
def test_without_a_policy_that_lists_it_every_tool_answers_403(
    settings_for: SettingsFor, service_token: ServiceToken, tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "tools.yaml"
    if text is not None:
        path.write_text(text, encoding="ascii")
    app = build(settings_for("executor"))
    app.dependency_overrides[tool_policy] = lambda: PolicyFile(path)
    with TestClient(app) as client:
        for tool, arguments in (
            ("shell", {"argv": ["echo", "proof"]}),
            ("file", {"operation": "list", "path": "."}),
            ("browser", {"url": "http://127.0.0.1:7060/plain/"}),
            ("unheard-of", {}),
        ):
            body = {"tool": tool, "arguments": arguments}
            token = service_token("gateway", "executor", "POST", "/internal/actions", body)
            response = client.post(
                "/internal/actions", json=body, headers={"X-Service-Token": token}
            )
            assert (response.status_code, tool) == (403, tool)
            assert response.json()["error"]["code"] == "policy_denied"
            assert str(tmp_path) not in response.text
