"""gating.commands: what messages advise can be pasted where the user is (G7)."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from fakes.system import stack_value, write_value

from common.options import ROOT
from gating.commands import gate_command, run_arguments, script_command
from stack.load import load_stack

REFERENCE = load_stack(ROOT / "compose/reference/stack.yaml", {})
pytestmark = pytest.mark.skipif(gate_command("gate1")[0] != "m", reason="Windows has no make")


def test_the_reference_system_on_its_first_runtime_needs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    assert gate_command("gate1", run_arguments(REFERENCE, "process")) == "make gate1"
    assert run_arguments(REFERENCE, "external") == ""


def test_another_runtime_stack_folder_ledger_and_key_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the advised run would be of another system, or in another ledger."""
    monkeypatch.chdir(tmp_path)
    stack = load_stack(write_value(tmp_path, stack_value()), {})
    (tmp_path / "my.pem").touch()
    said = run_arguments(
        stack, "compose", output_dir=Path("out"), ledger=Path("l.jsonl"), key="my.pem"
    )
    assert shlex.split(said) == [
        *("--runtime", "compose", "--stack", str(tmp_path / "stack.yaml")),
        *("--output-dir", str(tmp_path / "out"), "--ledger", str(tmp_path / "l.jsonl")),
        *("--key", str(tmp_path / "my.pem")),
    ]
    assert run_arguments(REFERENCE, "process", key="hsm:2") == "--key hsm:2"


def test_outside_of_the_checkout_the_commands_say_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert gate_command("gate2") == f"make -C {ROOT} gate2"
    program, script, word = shlex.split(script_command("ledger", "show"))
    assert Path(program).is_file()
    assert (script, word) == (str(ROOT / "scripts/ledger.py"), "show")
    monkeypatch.chdir(ROOT)
    assert shlex.split(script_command("ledger"))[1] == str(Path("scripts/ledger.py"))
