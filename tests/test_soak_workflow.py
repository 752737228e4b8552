""".github/workflows/soak.yml: pieces that go on where the last one stopped, and pass nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / ".github/workflows/soak.yml").read_text("utf-8")
VALUE: dict[str, Any] = yaml.safe_load(TEXT)
STEPS = [step for job in VALUE["jobs"].values() for step in job["steps"]]
SCRIPT = re.compile(r"scripts/(\w+)\.py((?:[^\n\\]|\\\n)*)")
needs_bash = pytest.mark.skipif(
    not shutil.which("bash") or not sys.platform.startswith("linux"), reason="a Linux runner's step"
)


def run_of(name: str) -> str:
    (found,) = [step["run"] for step in STEPS if step.get("name") == name]
    return str(found)


def test_it_starts_by_hand_and_by_the_clock_and_may_only_read() -> None:
    (triggers,) = [value for key, value in VALUE.items() if str(key) == "True"]  # YAML reads `on`
    assert triggers.keys() == {"schedule", "workflow_dispatch"}
    assert VALUE["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in VALUE["jobs"].values())


def test_a_piece_ends_before_a_hosted_job_is_ended() -> None:
    job = VALUE["jobs"]["pieces"]
    (minutes,) = [
        int(step["env"]["PIECE_MINUTES"])
        for step in job["steps"]
        if "PIECE_MINUTES" in step.get("env", {})
    ]
    kill = re.search(r"--kill-after=(\d+)m", run_of("Soak until the time of this piece is over"))
    assert kill
    assert minutes < 330
    assert minutes + int(kill[1]) + 15 < job["timeout-minutes"] < 360


def test_pieces_follow_each_other() -> None:
    strategy = VALUE["jobs"]["pieces"]["strategy"]
    assert (strategy["max-parallel"], strategy["fail-fast"]) == (1, True)
    assert VALUE["concurrency"]["cancel-in-progress"] is False


def test_every_script_and_option_exists() -> None:
    found = SCRIPT.findall("\n".join(step.get("run", "") for step in STEPS))
    assert {name for name, _ in found} == {"bootstrap_environment", "run_soak", "run_gate"}
    helps = {}
    for name, words in found:
        if name not in helps:
            command = [sys.executable, str(ROOT / f"scripts/{name}.py"), "--help"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            helps[name] = done.stdout
        for option in re.findall(r" (--[a-z-]+)", words):
            assert option in helps[name], f"{name} has no {option}"
    assert "--resume" in helps["run_soak"]
    for gate in re.findall(r"run_gate\.py (\w+)", TEXT):
        assert (ROOT / f"scripts/gates/{gate}.yaml").is_file()


def test_no_secret_is_used_and_no_input_stands_in_a_shell_line() -> None:
    assert "secrets." not in TEXT
    assert [step["run"] for step in STEPS if "${{" in step.get("run", "")] == []


def test_what_hosted_pieces_can_not_show_is_said() -> None:
    comment = " ".join(line.lstrip("# ") for line in TEXT.splitlines() if line.startswith("#"))
    assert "the longest unbroken span is one piece" in comment
    assert "can't pass gate 2" in comment


@needs_bash
@pytest.mark.parametrize(
    ("hours", "pieces"), [("1", [1]), ("5", [1]), ("6", [1, 2, 3]), ("48", [*range(1, 12)])]
)
def test_there_are_pieces_enough(hours: str, pieces: list[int], tmp_path: Path) -> None:
    output = tmp_path / "output"
    environ = {**os.environ, "HOURS": hours, "GITHUB_OUTPUT": str(output)}
    plan = run_of("How many pieces that makes")
    subprocess.run(["bash", "-eo", "pipefail", "-c", plan], env=environ, check=True)
    assert json.loads(output.read_text().removeprefix("pieces=")) == pieces


@needs_bash
@pytest.mark.parametrize("hours", ["", "0", "x", "5; echo", "1000"])
def test_hours_that_are_none_are_refused(hours: str, tmp_path: Path) -> None:
    environ = {**os.environ, "HOURS": hours, "GITHUB_OUTPUT": str(tmp_path / "output")}
    plan = run_of("How many pieces that makes")
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", plan], env=environ, check=False)
    assert done.returncode == 64


FAKE = """#!/bin/bash
echo "$@" >> ../calls
case "$(cat ../next)" in
  interrupted) mkdir -p proof_pack_artifacts/soaks/20261121-130000; exit 130;;
  passed) rm -rf proof_pack_artifacts/soaks; exit 0;;
  failed) exit 1;;
esac
"""


class Runner:
    """A hosted machine for each piece: nothing but the state file comes along."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[str] = []

    def piece(self, number: int, last: int, ends: str) -> int:
        """Run the step of one piece, with a soak that ends in some way."""
        machine = self.folder / f"machine-{number}"
        python = machine / ".venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(FAKE)
        python.chmod(0o755)
        home = self.folder / f"home-{number}"
        home.mkdir()
        before = self.folder / f"home-{number - 1}/soak-state.tar"
        if before.exists():
            shutil.copy(before, home)
        (self.folder / "next").write_text(ends)
        environ = {"HOURS": "10", "PIECE_MINUTES": "1", "PIECE": str(number), "LAST": str(last)}
        environ["HOME"] = str(home)
        step = run_of("Soak until the time of this piece is over")
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step],
            cwd=machine,
            env={**os.environ, **environ},
            check=False,
        )
        calls = self.folder / "calls"
        self.calls = calls.read_text().splitlines() if calls.exists() else []
        return done.returncode


@needs_bash
def test_a_piece_goes_on_where_the_one_before_stopped(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    codes = [
        runner.piece(1, 4, "interrupted"),
        runner.piece(2, 4, "interrupted"),
        runner.piece(3, 4, "passed"),
        runner.piece(4, 4, "failed"),
    ]
    assert codes == [0, 0, 0, 0]
    first, *others = runner.calls
    assert first == "scripts/run_soak.py --duration 10h"
    assert others == [f"{first} --resume 20261121-130000"] * 2


@needs_bash
def test_a_soak_that_is_not_finished_in_the_last_piece_has_not_passed(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    assert [runner.piece(1, 2, "interrupted"), runner.piece(2, 2, "interrupted")] == [0, 2]


@needs_bash
def test_nothing_that_a_piece_leaves_makes_the_checkout_one_with_changes(tmp_path: Path) -> None:
    """A soak goes on only with what it began with, and a clean checkout is a part of that."""
    Runner(tmp_path).piece(1, 2, "interrupted")
    left = {path.name for path in (tmp_path / "machine-1").iterdir()}
    assert left == {".venv", "proof_pack_artifacts"}
    ignored = (ROOT / ".gitignore").read_text("utf-8").split()
    assert {f"{name}/" for name in left} <= {f"{line.strip('/')}/" for line in ignored}


@needs_bash
def test_a_failed_soak_fails_its_piece(tmp_path: Path) -> None:
    assert Runner(tmp_path).piece(1, 3, "failed") == 1
