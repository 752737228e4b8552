"""scripts/check_prerequisites.py (G0): each check has a case in which it fails."""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import check_prerequisites
import pytest
from fakes.compose import fake_values, write_compose_stack
from fakes.engine import fake_engine
from fakes.system import stack_value, write_stack, write_value

from common.cli import Exit
from common.folders import ROOT
from stack import prerequisites
from stack.environment import locked_versions
from stack.load import load_stack
from stack.ports import local_ports
from stack.prerequisites import Surroundings, run_checks

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    stack = load_stack(write_stack(tmp_path), {})
    return Surroundings(stack, tmp_path / "out", {"PYTHONHASHSEED": "0"})


def outcome(around: Surroundings, name: str) -> tuple[str, str]:
    (found,) = [result for result in run_checks(around) if result.name == name]
    return found.outcome, found.detail


def test_a_good_machine_passes_every_check_that_applies(around: Surroundings) -> None:
    found = {result.name: result.outcome for result in run_checks(around)}
    assert found.pop("requirements-locked") == "skipped"
    assert found.pop("deterministic-mode") == "skipped"
    for name in ("compose-program", "docker-engine", "engine-disk"):
        assert found.pop(name) == "skipped"
    assert set(found.values()) == {"passed"}
    assert len(found) == 5


def test_an_old_python_fails(around: Surroundings) -> None:
    assert outcome(replace(around, python=(3, 10, 9)), "python-version") == (
        "failed",
        "expected Python 3.11 or newer, got 3.10.9: install a newer one",
    )


def test_another_version_than_the_locked_one_fails(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = locked_versions(ROOT / "constraints.txt")
    monkeypatch.setattr(prerequisites, "locked_versions", lambda _: {**locked, "psutil": "0.1"})
    what, why = outcome(around, "packages-locked")
    assert what == "failed"
    assert "expected psutil 0.1, got" in why
    assert "make bootstrap" in why


@pytest.mark.parametrize(("name", "expected"), [("psutil", "failed"), ("locust", "passed")])
def test_a_missing_package_fails_unless_only_other_machines_need_it(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    """A fresh `make smoke` has no Locust: the worker script brings its own group."""
    version = importlib.metadata.version

    def without(wanted: str) -> str:
        if wanted == name:
            raise importlib.metadata.PackageNotFoundError(wanted)
        return version(wanted)

    monkeypatch.setattr(importlib.metadata, "version", without)
    assert outcome(around, "packages-locked")[0] == expected


def test_a_taken_port_fails_and_names_its_owner(around: Surroundings) -> None:
    port = local_ports(around.stack.services)["jobs"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        what, why = outcome(around, "ports-free")
    assert what == "failed"
    assert f"port {port} of jobs is taken by pid {os.getpid()}" in why


def test_an_output_folder_that_can_not_be_written_fails(around: Surroundings) -> None:
    around.output_dir.write_text("a file in the way")
    what, why = outcome(around, "folders-writable")
    assert what == "failed"
    assert str(around.output_dir) in why


def test_too_little_space_fails(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "MINIMUM_FREE_BYTES", 1 << 60)
    what, why = outcome(around, "folders-writable")
    assert what == "failed"
    assert "MiB free" in why


@pytest.mark.parametrize("value", [None, "1", "random"])
def test_an_unset_hash_seed_fails(around: Surroundings, value: str | None) -> None:
    environ = {} if value is None else {"PYTHONHASHSEED": value}
    what, why = outcome(replace(around, environ=environ), "hash-seed")
    assert what == "failed"
    assert "export PYTHONHASHSEED=0" in why


def test_a_service_without_the_hash_seed_fails(tmp_path: Path, around: Surroundings) -> None:
    value = stack_value()
    value["runtimes"]["process"]["requirements"] = "requirements.txt"
    del value["runtimes"]["process"]["environment"]["PYTHONHASHSEED"]
    stack = load_stack(write_value(tmp_path, value), {})
    what, why = outcome(replace(around, stack=stack), "deterministic-mode")
    assert what == "failed"
    assert "runtimes.process.environment" in why


def test_a_lock_without_hashes_fails(tmp_path: Path, around: Surroundings) -> None:
    value = stack_value()
    value["runtimes"]["process"]["requirements"] = "requirements.txt"
    (tmp_path / "requirements.txt").write_text("six==1.17.0\n")
    stack = load_stack(write_value(tmp_path, value), {})
    assert outcome(replace(around, stack=stack), "requirements-locked")[0] == "failed"


def test_a_running_stack_needs_no_free_port(around: Surroundings) -> None:
    assert outcome(replace(around, external=True), "ports-free")[0] == "skipped"


def test_the_script_exits_1_when_a_check_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--stack", str(write_stack(tmp_path)), "--output-dir", str(tmp_path), "--json"]
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    assert check_prerequisites.main(arguments) == Exit.PASSED
    capsys.readouterr()
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert check_prerequisites.main(arguments) == Exit.FAILED
    results = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in results if row["outcome"] == "failed"] == ["hash-seed"]


def test_this_python_is_new_enough(around: Surroundings) -> None:
    assert around.python == sys.version_info[:3]
    assert outcome(around, "python-version")[0] == "passed"


@pytest.fixture
def composed(tmp_path: Path) -> Surroundings:
    """A stack in containers whose engine is a socket that nobody listens at."""
    path = write_compose_stack(tmp_path, *fake_values())
    environ = {"DOCKER_HOST": f"unix://{tmp_path}/engine.sock", "PATH": str(tmp_path)}
    stack = load_stack(path, {})
    return Surroundings(stack, tmp_path / "out", environ, runtime="compose")


def test_without_docker_the_checks_say_what_to_install(composed: Surroundings) -> None:
    """G0: each failure says what to do."""
    what, why = outcome(composed, "compose-program")
    assert what == "failed"
    assert why.startswith("docker is not installed (not in PATH): install Docker Engine")


def test_an_engine_that_does_not_answer_fails(composed: Surroundings) -> None:
    what, why = outcome(composed, "docker-engine")
    assert what == "failed"
    assert why.startswith("no Docker engine answers at unix://")
    assert outcome(composed, "engine-disk") == ("skipped", "no engine answers")


def test_ports_of_another_machine_are_not_checked_here(composed: Surroundings) -> None:
    remote = replace(composed, environ={**composed.environ, "DOCKER_HOST": "tcp://127.0.0.1:1"})
    assert outcome(remote, "ports-free") == ("skipped", "the ports are on another machine")


def test_a_full_disk_of_the_engine_fails(
    composed: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_engine(tmp_path / "engine.sock", tmp_path):
        assert outcome(composed, "docker-engine")[0] == "passed"
        assert outcome(composed, "engine-disk")[0] == "passed"
        monkeypatch.setattr(prerequisites, "MINIMUM_ENGINE_BYTES", 1 << 60)
        what, why = outcome(composed, "engine-disk")
    assert what == "failed"
    assert why.startswith(f"expected {1 << 40} MiB free at {tmp_path}, got ")
