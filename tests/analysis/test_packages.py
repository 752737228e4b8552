"""Vulnerabilities and licences of what is locked; the tools' answers are made up (H7)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from analysis import packages
from analysis.packages import audit_dependencies, list_licences, locked
from common.cli import ConfigurationError, ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from analysis.findings import Report

LOCK = """\
abc==1.0 \\
    --hash=sha256:00
Some_Thing==2.0 ; python_version >= '3.8' \\
    --hash=sha256:00
elsewhere==3.0 ; sys_platform == 'amiga' \\
    --hash=sha256:00
"""
FLAW = {"id": "PYSEC-1", "fix_versions": ["1.1"]}


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "constraints.txt"
    path.write_text(LOCK)
    return path


@pytest.fixture(autouse=True)
def no_tool_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "version_of", lambda _name: "1.0")


def service(answers: dict[str, Any]) -> Callable[[Path], Any]:
    """A made-up pip-audit that knows these packages, and counts what it was asked."""

    def ask(path: Path) -> dict[str, Any]:
        names = [line.partition("==")[0] for line in path.read_text().splitlines()]
        asked.extend(names)
        return {"dependencies": [{"name": name, **answers[name]} for name in names]}

    asked: list[str] = []
    ask.asked = asked  # type: ignore[attr-defined]
    return ask


GOOD = {"abc": {"version": "1.0", "vulns": []}, "some-thing": {"version": "2.0", "vulns": []}}


def test_a_lock_is_read_with_its_markers(lock: Path) -> None:
    assert locked(lock) == {"abc": "1.0", "some-thing": "2.0"}


def test_a_lock_without_packages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    for name in ("empty.txt", "missing.txt"):
        with pytest.raises(ConfigurationError, match=name):
            locked(tmp_path / name)


def test_packages_without_a_known_flaw_pass(lock: Path) -> None:
    found = audit_dependencies([lock], ask=service(GOOD)).as_json()
    assert (found["findings_count"], found["unseen_count"], found["looked_at_count"]) == (0, 0, 2)


def test_a_vulnerable_version_is_a_finding(lock: Path) -> None:
    bad = GOOD | {"some-thing": {"version": "2.0", "vulns": [FLAW]}}
    found = audit_dependencies([lock], ask=service(bad))
    assert found.as_json()["findings_count"] == 1
    assert found.findings[0].message == "some-thing==2.0: PYSEC-1, fixed in 1.1"


def test_both_versions_of_a_package_in_two_locks_are_asked_for(lock: Path, tmp_path: Path) -> None:
    other = tmp_path / "constraints-other.txt"
    other.write_text("abc==0.9 \\\n    --hash=sha256:00\n")

    def ask(path: Path) -> dict[str, Any]:
        rows = [line.split("==") for line in path.read_text().splitlines()]
        assert len({name for name, _ in rows}) == len(rows)
        flaws = {"0.9": [FLAW]}
        return {"dependencies": [{"name": n, "vulns": flaws.get(v, [])} for n, v in rows]}

    found = audit_dependencies([lock, other], ask=ask)
    assert [item.path for item in found.findings] == ["constraints-other.txt"]
    assert found.looked_at == ("abc==0.9", "abc==1.0", "some-thing==2.0")


def test_a_service_that_knows_no_package_passes_nothing_and_is_asked_once(lock: Path) -> None:
    """pip-audit says "No known vulnerabilities found" and exits 0 in this case."""
    ask = service({name: {"skip_reason": "not found on PyPI"} for name in GOOD})
    found = audit_dependencies([lock], ask=ask)
    entry = found.as_json()
    assert (entry["findings_count"], entry["unseen_count"]) == (None, None)
    assert found.note == "not found on PyPI"
    assert ask.asked == ["abc"]  # type: ignore[attr-defined]


def test_one_unknown_package_is_no_pass(lock: Path) -> None:
    partly = GOOD | {"some-thing": {"skip_reason": "not found"}}
    found = audit_dependencies([lock], ask=service(partly))
    assert (found.unseen, found.as_json()["findings_count"]) == (("some-thing==2.0",), None)


@pytest.mark.parametrize("answer", [ScriptError("no route"), {}])
def test_a_service_that_does_not_answer_passes_nothing(lock: Path, answer: Any) -> None:
    def ask(_path: Path) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    found = audit_dependencies([lock], ask=ask)
    assert found.as_json()["findings_count"] is None
    assert "gave no answer" in str(found.note)


def test_offline_nobody_is_asked_and_nothing_passes(lock: Path) -> None:
    found = audit_dependencies([lock], offline=True, ask=service({}))
    assert (found.as_json()["findings_count"], found.note) == (None, "offline: nobody was asked")


def test_what_pip_audit_says_without_json_is_the_reason(
    monkeypatch: pytest.MonkeyPatch, lock: Path
) -> None:
    said = "WARNING: retrying\nERROR: connection refused\n"
    monkeypatch.setattr(packages, "run_tool", lambda *_arguments: said)
    assert "connection refused" in str(audit_dependencies([lock]).note)


RULES = """\
allowed:
  - {licence: MIT, why: "a permissive one"}
packages:
  - {package: some-thing, licence: LGPL-3.0-only, why: "looked at, replaceable"}
  - {package: odd, licence: UNKNOWN, version: "1.0", why: "its file was read"}
"""


def licences(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: Path, rows: Sequence[tuple[str, ...]]
) -> Report:
    """What comes of it when pip-licenses says these names, versions and licences."""
    answer = [{"Name": name, "Version": v, "License": licence} for name, v, licence in rows]
    monkeypatch.setattr(packages, "run_tool", lambda *_arguments: json.dumps(answer))
    monkeypatch.setattr(packages, "_LIST_NAMES", f"print('{json.dumps([r[0] for r in rows])}')")
    path = tmp_path / "licences.yaml"
    path.write_text(RULES)
    return list_licences([Path(sys.executable)], [lock], path)


FINE = [("abc", "1.0", "MIT"), ("Some_Thing", "2.0", "LGPL-3.0-only")]


def test_allowed_licences_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: Path) -> None:
    found = licences(monkeypatch, tmp_path, lock, FINE).as_json()
    assert (found["findings_count"], found["unseen_count"]) == (0, 0)


@pytest.mark.parametrize(
    "row",
    [
        ("new", "1.0", "AGPL-3.0-only"),
        ("new", "1.0", "UNKNOWN"),
        ("new", "1.0", "LGPL-3.0-only"),
        ("odd", "1.1", "UNKNOWN"),
        ("some-thing", "2.0", "GPL-3.0-only"),
    ],
)
def test_a_licence_that_is_not_on_the_list_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: Path, row: tuple[str, ...]
) -> None:
    found = licences(monkeypatch, tmp_path, lock, [*FINE, row])
    assert [row[0] in item.message for item in found.findings] == [True]


def test_an_unknown_licence_that_was_read_holds_for_its_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: Path
) -> None:
    assert not licences(monkeypatch, tmp_path, lock, [*FINE, ("odd", "1.0", "UNKNOWN")]).findings


def test_a_locked_package_that_is_nowhere_installed_is_unseen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: Path
) -> None:
    found = licences(monkeypatch, tmp_path, lock, FINE[:1])
    assert (found.unseen, found.as_json()["findings_count"]) == (("some-thing",), None)


def test_a_package_that_pip_licenses_left_out_is_trouble(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lock: Path
) -> None:
    answer = [{"Name": "abc", "Version": "1.0", "License": "MIT"}]
    monkeypatch.setattr(packages, "run_tool", lambda *_arguments: json.dumps(answer))
    monkeypatch.setattr(packages, "_LIST_NAMES", 'print(\'["abc", "left-out"]\')')
    (tmp_path / "licences.yaml").write_text(RULES)
    with pytest.raises(ScriptError, match="left-out"):
        list_licences([Path(sys.executable)], [lock], tmp_path / "licences.yaml")
    with pytest.raises(ScriptError, match="expected a Python interpreter"):
        list_licences([tmp_path / "none"], [lock], tmp_path / "licences.yaml")
