"""The policy in force is the approved one, changed at once, never by a client (G3b, K4, K10)."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from services import prepare
from services.executor.app import build
from services.executor.policy import __main__ as command
from services.executor.policy import versions
from services.executor.policy.denied import DeniedError
from services.executor.policy.install import SHIPPED, install, use
from services.executor.policy.store import PolicyStore
from services.executor.policy.versions import PolicyFilesError, read_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from service_protocols import ServiceToken, SettingsFor

    Act = Callable[..., httpx.Response]

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX modes")
EFFECT_SECONDS = 30.0
ECHO: dict[str, Any] = {"tool": "shell", "arguments": {"argv": ["echo", "proof"]}}


@pytest.fixture
def folder(state_folder: Path) -> Path:
    """The installed policies of the test's own system."""
    return state_folder / "policies"


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """A policy that lists no echo any more."""
    made = shutil.copytree(SHIPPED, tmp_path / "changed")
    text = (made / "tools.yaml").read_text("utf-8")
    (made / "tools.yaml").write_text(text.replace("program: echo", "program: ech"), "utf-8")
    return made


@pytest.fixture
def client(settings_for: SettingsFor) -> Iterator[TestClient]:
    with TestClient(build(settings_for("executor"))) as running:
        yield running


@pytest.fixture
def act(client: TestClient, service_token: ServiceToken) -> Act:
    """Sends an action as the gateway does."""

    def send(body: dict[str, Any] = ECHO) -> httpx.Response:
        token = service_token("gateway", "executor", "POST", "/internal/actions", body)
        headers = {"X-Service-Token": token}
        found: httpx.Response = client.post("/internal/actions", json=body, headers=headers)
        return found

    return send


def version(folder: Path) -> Path:
    return folder / (folder / "approved").read_text("ascii").strip()


def overwrite(path: Path, data: bytes) -> None:
    """What somebody with the rights of the folder could do."""
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


# --- a change ------------------------------------------------------------------------------


def test_a_change_is_there_within_30_seconds_without_a_restart(
    act: Act, folder: Path, changed: Path
) -> None:
    """G3b; and back again, by the hash of the version before."""
    assert act().status_code == 200
    before = version(folder).name
    changes: list[tuple[Callable[[], str], int]] = [
        (lambda: install(changed, folder), 403),
        (lambda: use(folder, before), 200),
    ]
    for change, wanted in changes:
        change()
        started = time.monotonic()
        while act().status_code != wanted:
            assert time.monotonic() - started < EFFECT_SECONDS


def test_a_change_is_said_and_counted(client: TestClient, act: Act, folder: Path, changed: Path,
                                      client_headers: dict[str, str]) -> None:  # fmt: skip
    act()
    wanted = install(changed, folder)
    act()
    answer = client.get("/v1/policy", headers=client_headers).json()
    assert (answer["state"], answer["drift"], answer["changes"]) == ("in force", False, 1)
    assert answer["approved_sha256"] == answer["found_sha256"] == wanted


def test_a_restart_keeps_what_the_operator_brought_in(folder: Path, changed: Path) -> None:
    wanted = install(changed, folder)
    environ = {"STATE_FOLDER": str(folder.parent), "CLIENT_TOKEN": "t" * 40}
    assert prepare.main(environ) == 0
    assert version(folder).name == wanted


def test_new_code_brings_its_policy(
    folder: Path, changed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.executor.policy.install.SHIPPED", changed)
    assert prepare.main({"STATE_FOLDER": str(folder.parent), "CLIENT_TOKEN": "t" * 40}) == 0
    assert version(folder).name == read_version(changed).sha256


# --- a drift -------------------------------------------------------------------------------


def _edit(folder: Path) -> None:
    overwrite(version(folder) / "actions.rego", b'package actions\ndecision := {"allow": true}')


def _widen(folder: Path) -> None:
    path = version(folder) / "tools.yaml"
    overwrite(path, path.read_bytes().replace(b"program: echo", b"program: rm"))


def _add(folder: Path) -> None:
    (version(folder) / "more.rego").write_text("package actions.more\n", "ascii")


def _add_other(folder: Path) -> None:
    (version(folder) / "README").write_text("", "ascii")


def _remove(folder: Path) -> None:
    (version(folder) / "shell.rego").unlink()


def _remove_all(folder: Path) -> None:
    shutil.rmtree(folder)


def _remove_approval(folder: Path) -> None:
    (folder / "approved").unlink()


def _approve_none(folder: Path) -> None:
    overwrite(folder / "approved", b"0" * 64)


def _approve_a_path(folder: Path) -> None:
    overwrite(folder / "approved", b"../../evil")


def _make_writable(folder: Path) -> None:
    (version(folder) / "shell.rego").chmod(0o644)


def _link(folder: Path) -> None:
    path = version(folder) / "shell.rego"
    shutil.copy(path, folder.parent / "elsewhere.rego")
    path.unlink()
    path.symlink_to(folder.parent / "elsewhere.rego")


def _device(folder: Path) -> None:
    path = version(folder) / "shell.rego"
    path.unlink()
    os.mkfifo(path)


DRIFTS = [
    _edit, _widen, _add, _add_other, _remove, _remove_all, _remove_approval, _approve_none,
    _approve_a_path,
    *([_make_writable, _link, _device] if os.name == "posix" else []),
]  # fmt: skip


@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: drift.__name__)
def test_a_drift_denies_everything_and_is_said(
    client: TestClient,
    act: Act,
    folder: Path,
    client_headers: dict[str, str],
    *,
    drift: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert act().status_code == 200
    drift(folder)
    for body in (
        ECHO,
        {"tool": "shell", "arguments": {"argv": ["rm", "x"]}},
        {"tool": "file", "arguments": {"operation": "list", "path": "."}},
        {"tool": "browser", "arguments": {"url": "http://127.0.0.1:7060/plain/"}},
        {"tool": "unheard-of", "arguments": {}},
    ):
        answer = act(body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "policy_denied")
        assert str(folder) not in answer.text
    status = client.get("/v1/policy", headers=client_headers).json()
    assert status["drift"]
    assert status["state"] in {"drift", "missing"}
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]["policy"]) == (503, "failed")
    assert "policy_drift 1.0" in client.get("/metrics").text
    said = [record for record in caplog.records if "every action is denied" in record.getMessage()]
    assert len(said) == 1  # once, not at every request


def test_without_a_drift_nothing_is_reported(client: TestClient) -> None:
    assert client.get("/readyz").json()["checks"]["policy"] == "passed"
    text = client.get("/metrics").text
    assert "policy_drift 0.0" in text
    assert "policy_invalid 0.0" in text


def test_what_stood_before_the_drift_is_in_force_again_after_it(act: Act, folder: Path) -> None:
    path = version(folder) / "shell.rego"
    before = path.read_bytes()
    overwrite(path, before + b"\n")
    assert act().status_code == 403
    overwrite(path, before)
    assert act().status_code == 200


def test_a_pinned_hash_lets_no_other_version_in(folder: Path, changed: Path) -> None:
    """Whoever may write the folder may approve: a pin in the environment is stronger."""
    store = PolicyStore(folder, version(folder).name)
    assert store.current().sha256 == version(folder).name
    install(changed, folder)
    with pytest.raises(DeniedError, match="policy_drift"):
        store.current()
    assert PolicyStore(folder).current().sha256 == version(folder).name


def test_without_the_comparison_a_drift_would_be_in_force(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check switched off: the widened policy is what judges."""
    _widen(folder)
    found = read_version(version(folder))
    monkeypatch.setattr(
        "services.executor.policy.store.read_approved", lambda _folder: (found.sha256, found)
    )
    monkeypatch.setattr("services.executor.policy.store.writable_files", lambda *_: [])
    rego = PolicyStore(folder).current().rego
    assert rego.decide({"tool": "shell", "argv": ["rm", "x"]}).allow


def test_an_approved_policy_that_is_broken_denies_everything(
    client: TestClient, act: Act, folder: Path, changed: Path
) -> None:
    """Brought in past `install`, which refuses it: closed, said so, and no drift."""
    (changed / "shell.rego").write_text("package actions.shell\nallow if {", "ascii")
    versions.write_version(folder, read_version(changed))
    answer = act()
    assert answer.status_code == 403
    assert answer.json()["error"]["message"].startswith("policy_invalid: ")
    text = client.get("/metrics").text
    assert "policy_invalid 1.0" in text
    assert "policy_drift 0.0" in text
    assert client.get("/readyz").status_code == 503


# --- nobody else writes it -----------------------------------------------------------------


@posix
def test_the_files_are_444(folder: Path) -> None:
    paths = [folder / "approved", *version(folder).iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o444}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "path",
    ["../policies/approved", "policies/approved", "../../state/policies/approved",
     "/policies/approved", "..%2fpolicies/approved"],
)  # fmt: skip
def test_no_tool_reaches_the_folder(act: Act, folder: Path, path: str) -> None:
    """The file tool's folder is another one; a name that only looks like it is in there."""
    before = {item: item.read_bytes() for item in folder.rglob("*") if item.is_file()}
    for operation, content in (("write", {"content": "x"}), ("read", {})):
        act({"tool": "file", "arguments": {"operation": operation, "path": path, **content}})
    assert {item: item.read_bytes() for item in folder.rglob("*") if item.is_file()} == before


def test_what_a_caller_sends_changes_nothing(act: Act) -> None:
    """G3b: a policy, a data document, another caller: no key of the request is one."""
    wide = {"version": 1, "rules": {"shell": {"commands": []}}}
    for body in (
        {**ECHO, "policy": wide},
        {"tool": "shell", "arguments": {"argv": ["rm"], "rules": wide}},
        {"tool": "shell", "arguments": {"argv": ["rm"]}, "caller": "operator"},
        {"tool": "shell", "arguments": {"argv": ["rm"], "input": {"tool": "file"}}},
    ):
        assert act(body).status_code in {403, 422}
    assert act({"tool": "shell", "arguments": {"argv": ["rm"]}}).status_code == 403


# --- every decision is logged --------------------------------------------------------------


def test_every_decision_is_logged_without_its_arguments(
    act: Act, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "hunter2-is-no-good-password"
    with caplog.at_level("INFO", logger="services"):
        act({"tool": "shell", "arguments": {"argv": ["echo", secret]}})
        act({"tool": "shell", "arguments": {"argv": [secret, "x"]}})
        act({"tool": "shell", "arguments": {"argv": ["cat", secret + "/../x"]}})
        act({"tool": "file", "arguments": {"operation": "read", "path": "../" + secret}})
        act({"tool": "browser", "arguments": {"url": f"ftp://{secret}.example/"}})
        act({"tool": "browser", "arguments": {"url": f"http://{secret}.example/"}})
    lines = [record.fields for record in caplog.records if record.msg == "policy decision"]  # type: ignore[attr-defined]
    assert [(line["tool"], line["outcome"], line["reason"]) for line in lines] == [
        ("shell", "allowed", "listed"),
        ("shell", "denied", "program_not_listed"),
        ("shell", "allowed", "listed"),
        ("shell", "denied", "path_not_plain"),
        ("file", "allowed", "listed"),
        ("file", "denied", "path_not_plain"),
        ("browser", "denied", "scheme_not_listed"),
        ("browser", "allowed", "listed"),
        ("browser", "denied", "host_not_allowed"),
    ]
    assert {line["policy"] for line in lines} == {version(folder).name}
    assert {line["caller"] for line in lines} == {"gateway"}
    assert secret not in json.dumps(lines)


def test_a_denial_says_its_reason_and_nothing_of_the_inside(act: Act, folder: Path) -> None:
    answer = act({"tool": "shell", "arguments": {"argv": ["rm", "-rf", "/"]}}).json()["error"]
    assert (answer["code"], answer["message"].split(":")[0]) == (
        "policy_denied", "program_not_listed",
    )  # fmt: skip
    assert not any(word in answer["message"] for word in ("rego", "rm", str(folder), "/usr"))


def test_decisions_are_measured(client: TestClient, act: Act) -> None:
    act()
    act({"tool": "made-up-by-a-client", "arguments": {}})
    text = client.get("/metrics").text
    assert 'policy_decisions_total{outcome="allowed",reason="listed",tool="shell"} 1.0' in text
    assert 'tool="other"} 1.0' in text
    assert "made-up" not in text
    assert "policy_evaluation_seconds_count 2.0" in text


# --- the command ---------------------------------------------------------------------------


def test_the_command_installs_shows_and_goes_back(
    folder: Path, changed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ, before = {"POLICIES_FOLDER": str(folder)}, version(folder).name
    assert command.main(["install", str(changed)], environ) == 0
    installed = capsys.readouterr().out.strip()
    assert installed == version(folder).name != before
    assert command.main(["show"], environ) == 0
    assert json.loads(capsys.readouterr().out)["found_sha256"] == installed
    assert command.main(["use", before], environ) == 0
    assert version(folder).name == before
    _edit(folder)
    assert command.main(["show"], environ) == 1


@pytest.mark.parametrize("arguments", [[], ["install"], ["remove", "x"], ["use"]])
def test_the_command_refuses_other_arguments(arguments: list[str]) -> None:
    assert command.main(arguments, {"STATE_FOLDER": "x"}) == 64


@pytest.mark.parametrize("arguments", [["install", "nowhere"], ["use", "0" * 64], ["use", "../x"]])
def test_the_command_says_what_is_wrong(
    folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments, {"POLICIES_FOLDER": str(folder)}) == 78
    assert capsys.readouterr().err.startswith("error: ")


def test_a_version_is_whole_or_it_is_not_that_version(folder: Path) -> None:
    with pytest.raises(PolicyFilesError):
        versions.approve(folder, "0" * 64)
    _edit(folder)
    with pytest.raises(PolicyFilesError, match="hash of their folder"):
        versions.approve(folder, version(folder).name)
    assert install(SHIPPED, folder) == version(folder).name  # which mends it
    assert PolicyStore(folder).status().state == "in force"
