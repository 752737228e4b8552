"""The reference system under attack, and without its controls (G3a-d)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import probe_security
import pytest

from security.corpus import load_corpora
from stack.load import load_stack
from weakened.registry import NotThereError, controls, replace, switch_off

if TYPE_CHECKING:
    from collections.abc import Sequence

REFERENCE = Path(__file__).resolve().parents[2] / "compose/reference/stack.yaml"


def run(folder: Path, *options: str) -> Any:
    """The figures of a run on the reference system."""
    probe_security.main([*options, "--output-dir", str(folder / "out")])
    (path,) = (folder / "out").glob("*/evidence/gate3-summary-*.json")
    return json.loads(path.read_text())["measured"]["security"]


def chosen(names: Sequence[str]) -> list[str]:
    """The options that choose controls."""
    return [part for name in names for part in ("--control", name)]


@pytest.mark.stack
@pytest.mark.slow
def test_every_attack_is_held_and_no_secret_is_logged(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROOF_PACK_CACHE_DIR", str(shared_cache))
    found = run(tmp_path, "--no-self-test")
    assert [row for row in found["findings"] if row["outcome"] != "passed"] == []
    assert found["held"] == found["cases_planned"] >= 150
    assert found["families"] >= 12
    assert found["errors_5xx"] == 0
    assert found["known_values"]["found"] == 0


@pytest.mark.stack
@pytest.mark.slow
def test_attacks_get_through_without_their_control(
    tmp_path: Path, shared_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few of them here; gate 3 switches off all."""
    monkeypatch.setenv("PROOF_PACK_CACHE_DIR", str(shared_cache))
    names = (
        "service-token-replay",
        "path-names",
        "shell-environment",
        "allowed-hosts",
        "client-token",
    )
    found = run(tmp_path, "--self-test", *chosen(names))["self_test"]
    assert [row["never_failing"] for row in found["rows"]] == [[]] * len(names)
    assert found["controls_without_failing_case"] == 0


def test_every_control_of_the_stack_file_can_be_switched_off_and_has_cases() -> None:
    stack = load_stack(REFERENCE, {})
    assert stack.security
    names = {control.id for control in stack.security.controls}
    assert names == {*controls()}
    assert names == {case.control for case in load_corpora(stack)}


def test_a_control_that_has_moved_is_not_passed_over() -> None:
    with pytest.raises(NotThereError, match="adapt the package `weakened`"):
        replace(probe_security, "no_such_function", None)
    with pytest.raises(NotThereError, match="expected one of"):
        switch_off("no-such-control")


def test_no_image_has_the_weakened_system_in_it() -> None:
    """What is not named reaches no builder."""
    ignored = (REFERENCE.parent / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert not any(line.startswith("!") and "weakened" in line for line in ignored)
    for name in ("Dockerfile", "compose.yaml", "compose.override.yaml"):
        assert "weakened" not in (REFERENCE.parent / name).read_text()
    services = (REFERENCE.parent / "services").rglob("*.py")
    assert not any("weakened" in path.read_text() for path in services)
