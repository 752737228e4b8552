"""compose/reference/checks: each check of the tool services turns red where its rule is broken."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from checks import container, golden, static
from development import reload

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="runs in Linux containers only")
HARDENED = {"CapEff": "0", "CapPrm": "0", "CapBnd": "0", "CapAmb": "0"}
HARDENED |= {"NoNewPrivs": "1", "Seccomp": "2"}


@pytest.mark.parametrize("ids", [(0, 10001, [10001]), (10001, 0, []), (10001, 10001, [0])])
def test_root_is_refused(monkeypatch: pytest.MonkeyPatch, ids: tuple[int, int, list[int]]) -> None:
    monkeypatch.setattr(os, "getuid", lambda: ids[0])
    monkeypatch.setattr(os, "getgid", lambda: ids[1])
    monkeypatch.setattr(os, "getgroups", lambda: ids[2])
    assert "expected no id 0" in (container.runs_as_nobody_in_particular() or "")


@pytest.mark.parametrize("name", HARDENED)
def test_a_capability_or_a_missing_filter_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    status = tmp_path / "status"
    monkeypatch.setattr(container, "PROCESS_STATUS", status)

    def problems(values: dict[str, str]) -> list[str]:
        status.write_text("".join(f"{key}:\t{value}\n" for key, value in values.items()))
        found = (container.has_no_capability(), container.gains_no_privilege())
        return [problem for problem in found if problem]

    assert problems(HARDENED) == []
    assert len(problems(HARDENED | {name: "20"})) == 1
    assert len(problems({key: value for key, value in HARDENED.items() if key != name})) == 1


def test_a_folder_that_can_be_written_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(container, "CODE_FOLDERS", (str(tmp_path),))
    assert "wrote to it" in (container.file_system_is_read_only() or "")


def test_secrets_must_be_there_and_in_no_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(container, "SECRETS_FOLDER", tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "got none" in (container.secrets_are_files_only() or "")
    (tmp_path / "CLIENT_TOKEN").write_text("a secret of this test\n")
    assert container.secrets_are_files_only() is None
    monkeypatch.setenv("QUEUE_URL", "redis://:a secret of this test@redis")
    assert "in a variable" in (container.secrets_are_files_only() or "")
    monkeypatch.delenv("QUEUE_URL")
    monkeypatch.setattr(os, "access", lambda *_: True)
    assert "got a writable one" in (container.secrets_are_files_only() or "")


def test_a_secret_or_key_too_many_or_too_few_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secrets, keys = tmp_path / "secrets", tmp_path / "keys"
    secrets.mkdir()
    keys.mkdir()
    monkeypatch.setattr(container, "SECRETS_FOLDER", secrets)
    monkeypatch.setattr(container, "KEYS_FOLDER", keys)
    assert "got []" in (container.sees_its_own_secrets_only() or "")
    (secrets / "CLIENT_TOKEN").touch()
    assert container.sees_its_own_secrets_only() is None
    (keys / "gateway.pem").touch()
    assert "expected no keys, got gateway.pem" in (container.sees_its_own_secrets_only() or "")
    (secrets / "QUEUE_PASSWORD").touch()
    assert "QUEUE_PASSWORD" in (container.sees_its_own_secrets_only() or "")
    assert container.sees_its_own_secrets_only in container.CHECKS


def test_a_check_that_cannot_be_made_has_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks() -> str | None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(container, "CHECKS", (breaks, lambda: None))
    assert container.main() == 1
    assert "1 of 2 checks passed" in capsys.readouterr().out


EXPECT = {"status": 200, "contains": ["event: done"], "json": {"/hops/0": "gateway"}}
ANSWER = '{"hops": ["gateway"], "text": "event: done"}'


def test_an_answer_as_expected_has_no_difference() -> None:
    assert golden.difference(EXPECT, 200, ANSWER) is None


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (500, ANSWER),
        (200, ANSWER.replace("done", "token")),
        (200, ANSWER.replace("gateway", "executor")),
        (200, ANSWER.replace("hops", "jumps")),
    ],
)
def test_every_other_answer_is_a_difference(status: int, text: str) -> None:
    assert golden.difference(EXPECT, status, text)


def test_no_answer_no_secret_and_no_json_are_problems(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(golden, "SECRETS_FOLDER", tmp_path)
    monkeypatch.setenv("GATEWAY_URL", "http://127.0.0.1:9")
    request: dict[str, Any] = {"service": "gateway", "path": "/", "expect": {"status": 200}}
    assert "URLError" in (golden.problem_of(request) or "")
    request["headers"] = {"Authorization": "Bearer {secret:CLIENT_TOKEN}"}
    assert "FileNotFoundError" in (golden.problem_of(request) or "")
    monkeypatch.setattr(golden, "ask", lambda _: (200, "not JSON"))
    request["expect"]["json"] = {"/x": 1}
    assert "JSONDecodeError" in (golden.problem_of(request) or "")


def test_a_stack_without_golden_requests_is_inconclusive(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text("version: 1\n")
    assert golden.main([str(tmp_path / "stack.yaml")]) == 2


def test_static_analysis_of_nothing_is_inconclusive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(static, "CHECKOUT", tmp_path)
    monkeypatch.setattr(static, "CODE", tmp_path)
    assert static.main() == 2
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "code.py").write_text("pass\n")
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(static, "commands", lambda: [["true"], ["false"]])
    assert static.main() == 1
    monkeypatch.setattr(static, "commands", lambda: [["true"], ["true"]])
    assert static.main() == 0


@pytest.mark.parametrize("change", ["edit", "new", "removed"])
def test_a_changed_file_ends_the_wait_of_the_reloader(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    code = tmp_path / "app.py"
    code.write_text("a = 1\n")
    monkeypatch.setattr(reload, "FOLDERS", (tmp_path,))
    monkeypatch.setattr(reload, "LOOK_SECONDS", 0.01)
    waiting = threading.Thread(target=reload.wait_for_change, args=(reload.stamp(),), daemon=True)
    waiting.start()
    (tmp_path / "notes.txt").write_text("not code")
    waiting.join(0.2)
    assert waiting.is_alive()
    if change == "removed":
        code.unlink()
    else:
        (code if change == "edit" else tmp_path / "tools.yaml").write_text("a = 22\n")
    waiting.join(10)
    assert not waiting.is_alive()
