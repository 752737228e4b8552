"""show_status.py: what runs, what was left, what was last; and nothing is changed by it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import show_status
from bundles import make_bundle, make_key

from common.cli import Exit
from soak.clock import Moment
from soak.folder import SoakFolder
from soak.header import Header
from stack.records import birth, new_record

if TYPE_CHECKING:
    from pathlib import Path

LINES = """\
reference-0123456789ab\treference-0123456789ab-gateway-1\tUp 2 seconds
somebody-elses\tdb-1\tUp 2 days
"""


@pytest.fixture(autouse=True)
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up docker that lists two containers."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(f"#!{sys.executable}\nprint({LINES!r}, end='')\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return program


def status(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> tuple[Exit, dict[str, Any]]:
    code = show_status.main(["--json", "--output-dir", str(tmp_path / "runs")])
    return code, json.loads(capsys.readouterr().out)


def test_where_nothing_runs_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert show_status.main(["--output-dir", str(tmp_path / "runs")]) == Exit.PASSED
    out = capsys.readouterr().out
    assert "no stack runs in processes" in out
    assert "no run yet" in out


@pytest.mark.skipif(os.name == "nt", reason="a program with a #! line")
def test_containers_of_others_are_not_shown(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, engine: Path
) -> None:
    projects = [one["project"] for one in status(capsys, tmp_path)[1]["containers"]]
    assert projects == ["reference-0123456789ab"]
    engine.write_text(f"#!{sys.executable}\nraise SystemExit(1)\n")
    assert status(capsys, tmp_path)[1]["containers"] is None
    engine.unlink()
    assert status(capsys, tmp_path)[1]["containers"] is None


def test_a_running_stack_is_no_left_over(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    record = new_record(tmp_path / "stack.yaml")
    record.processes["front"] = (os.getpid(), birth(os.getpid()))
    record.save()
    code, state = status(capsys, tmp_path)
    assert code == Exit.PASSED
    assert state["stacks"][0]["services"] == ["front"]
    assert state["stacks"][0]["left_over"] is False


def test_what_a_killed_run_left_is_shown_and_stays(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    born = birth(dead.pid)
    dead.wait()
    record = new_record(tmp_path / "stack.yaml")
    record.harness_pid, record.harness_birth = dead.pid, born or "gone"
    record.save()
    code, state = status(capsys, tmp_path)
    assert (code, state["stacks"][0]["left_over"]) == (Exit.FAILED, True)
    assert record.path.exists()
    assert show_status.main(["--output-dir", str(tmp_path / "runs")]) == Exit.FAILED
    out = capsys.readouterr().out
    assert "LEFT OVER" in out
    assert not record.secrets or f"; secrets in {record.secrets}" in out


def test_an_interrupted_soak_is_shown_until_it_runs_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    header = Header("20261121-120000", "x", "a", "c", None, None, "process", 9.0, 1.0, "aiohttp")
    typed = ["python", "scripts/run_soak.py", "--duration", "9s"]
    folder = SoakFolder.create(tmp_path / "runs", header, Moment("boot", 0.0, 0.0), typed)
    assert status(capsys, tmp_path)[1]["soaks"] == []
    folder.close()
    command = "python scripts/run_soak.py --duration 9s --resume 20261121-120000"
    code, state = status(capsys, tmp_path)
    (soak,) = state["soaks"]
    assert (soak["run"], soak["command"]) == ("20261121-120000", command)
    assert "0:00:09 without a break are still possible" in soak["prospect"]
    assert code == Exit.PASSED
    show_status.main(["--output-dir", str(tmp_path / "runs")])
    out = capsys.readouterr().out
    assert f"20261121-120000 waits: go on with `{command}`" in out
    assert "can still pass" in out


def test_a_torn_record_is_no_stack(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    record = new_record(tmp_path / "stack.yaml")
    record.path.write_text("{")
    assert status(capsys, tmp_path)[1]["stacks"] == []


def test_the_last_verdicts_are_shown_as_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    make_bundle(tmp_path / "runs", make_key(tmp_path).signer, verdict="failed")
    show_status.main(["--output-dir", str(tmp_path / "runs")])
    assert "run_proof_pack: failed (as written, not verified)" in capsys.readouterr().out
