"""scripts/run_stack.py: runs until Ctrl-C and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import run_stack
from fakes.system import write_stack

from common.cli import Exit, ScriptError
from stack.load import load_stack
from stack.ports import listeners, local_ports, port_is_free

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def test_it_runs_until_ctrl_c_and_leaves_nothing(tmp_path: Path) -> None:
    stack = load_stack(write_stack(tmp_path), {})
    process = subprocess.Popen(
        [sys.executable, str(Path(run_stack.__file__)), "--stack", str(stack.file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    while "Ctrl-C stops it" not in process.stdout.readline():
        assert process.poll() is None
    ports = local_ports(stack.services)
    assert not any(map(port_is_free, ports.values()))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == Exit.INTERRUPTED
    assert all(map(port_is_free, ports.values()))
    assert not [*(tmp_path / "cache" / "state").iterdir()]


def test_a_service_that_dies_ends_it_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = load_stack(write_stack(tmp_path), {})
    shown = run_stack.show

    def show_and_kill(*arguments: object) -> None:
        shown(*arguments)  # type: ignore[arg-type]
        (owner,) = listeners([local_ports(stack.services)["jobs"]])
        psutil.Process(owner.pid).kill()

    monkeypatch.setattr(run_stack, "show", show_and_kill)
    with pytest.raises(ScriptError, match="jobs stopped answering") as caught:
        run_stack.main(["--stack", str(stack.file)])
    assert caught.value.code == Exit.FAILED
    assert all(map(port_is_free, local_ports(stack.services).values()))
