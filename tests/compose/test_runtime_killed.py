"""A harness that is killed or interrupted: the project goes, now or with the next command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import check_prerequisites
import pytest
import run_proof_pack
import run_stack
from fakes.compose import fake_values, write_compose_stack
from fakes.runtimes import left_of

from common.cli import Exit
from evidence.public_key import load_public_key
from evidence.verify import verify_bundle
from stack import records
from stack.load import load_stack
from stack.ports import local_ports, port_is_free

if TYPE_CHECKING:
    from pathlib import Path

    from stack.model import Stack

pytestmark = [pytest.mark.docker, pytest.mark.skipif(os.name == "nt", reason="POSIX signals")]


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    return load_stack(write_compose_stack(tmp_path, *fake_values()), {})


def started(script: str, *options: str) -> subprocess.Popen[str]:
    """A script in a process of its own."""
    return subprocess.Popen(
        [sys.executable, script, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def project_of(process: subprocess.Popen[str]) -> str:
    """The project of a run, once its first container is there."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        for record in records._records():
            if record.project and left_of(record.project):
                return record.project
        time.sleep(0.05)
    pytest.fail(f"no container appeared: {process.communicate()[1]}")


def nothing_left(stack: Stack, project: str) -> bool:
    return not left_of(project) and all(map(port_is_free, local_ports(stack.services).values()))


@pytest.mark.parametrize("wait_seconds", [0.0, 0.7, 4.0])
def test_the_next_command_takes_down_what_a_killed_one_left(
    stack: Stack,
    tmp_path: Path,
    wait_seconds: float,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Kill -9 of the harness while it starts, and while the system runs."""
    process = started(run_stack.__file__, "--stack", str(stack.file))
    project = project_of(process)
    time.sleep(wait_seconds)
    process.kill()
    process.communicate()
    options = ["--stack", str(stack.file), "--output-dir", str(tmp_path / "out")]
    check_prerequisites.main(options)
    said = capsys.readouterr().err
    assert re.search(rf"left by a killed run: removed (container|network) {project}", said)
    assert nothing_left(stack, project)
    assert [*(tmp_path / "cache/state").iterdir()] == []
    assert [*(tmp_path / "cache/runs").iterdir()] == []


def test_ctrl_c_during_the_start_leaves_nothing_and_is_sealed(stack: Stack, tmp_path: Path) -> None:
    output = tmp_path / "out"
    options = ["--stack", str(stack.file), "--output-dir", str(output)]
    process = started(run_proof_pack.__file__, *options)
    project = project_of(process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED, errors
    assert nothing_left(stack, project)
    (bundle,) = output.iterdir()
    key = load_public_key(tmp_path / "config" / "signing-key.pub")
    found = verify_bundle(bundle, key)
    assert found.authentic
    assert found.claims
    assert found.claims.verdict == "inconclusive"


def test_run_stack_runs_it_until_ctrl_c(stack: Stack, tmp_path: Path) -> None:
    process = started(run_stack.__file__, "--stack", str(stack.file))
    assert process.stdout
    while "Ctrl-C stops it" not in process.stdout.readline():
        assert process.poll() is None
    project = project_of(process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED
    assert nothing_left(stack, project)
    assert [*(tmp_path / "cache/runs").iterdir()] == []
