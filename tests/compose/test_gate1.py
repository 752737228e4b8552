"""Gate 1 in containers: a rehearsal passes, and what a service does wrong is found (G1)."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import run_gate
from fakes.compose import fake_values, write_compose_stack
from fakes.runtimes import left_of

from common.cli import Exit
from evidence.public_key import load_public_key
from evidence.verify import verify_bundle
from gating import cycles
from stack import records
from stack.compose.engine import connect
from stack.compose.runtime import ComposeRuntime

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.docker
SHORT = ("--cycles", "2", "--intervals", "3", "--interval-seconds", "0.1")


class Ran:
    """A rehearsal of gate 1 on the fake system in containers, and what it sealed."""

    def __init__(self, folder: Path, **faults: str) -> None:
        path = write_compose_stack(folder, *fake_values(**faults))
        where = ["--stack", str(path), "--output-dir", str(folder / "out")]
        self.code = run_gate.main(["gate1", "--rehearse", *where, "--", *SHORT])
        (self.path,) = folder.glob("out/*/evidence/gate1-summary-*.json")
        self.bundle = self.path.parents[1]
        self.summary: dict[str, Any] = json.loads(self.path.read_text())
        self.figures = self.summary["measured"]["cycles"]

    def failed(self) -> set[str]:
        """The criteria that failed."""
        return {row["id"] for row in self.summary["criteria"] if row["outcome"] == "failed"}


def test_a_rehearsal_in_containers_passes(tmp_path: Path) -> None:
    ran = Ran(tmp_path)
    assert ran.code == Exit.PASSED
    assert ran.figures["checks"] == 12
    assert ran.figures["services_changed"] == 0
    left = ran.figures["left"]
    wanted = ("late", "zombies", "sockets", "containers", "networks", "volumes")
    assert {name: left[name] for name in wanted} == dict.fromkeys(wanted, 0)
    key = load_public_key(tmp_path / "config/signing-key.pub")
    assert verify_bundle(ran.bundle, key).authentic


def test_a_zombie_in_a_container_is_found(tmp_path: Path) -> None:
    ran = Ran(tmp_path, jobs="zombie")
    assert ran.code == Exit.FAILED
    assert "zombies" in ran.failed()
    assert any("jobs leaves a zombie: pid" in line for line in ran.figures["diagnosis"]["left"])


def test_a_failing_check_is_diagnosed_with_the_state_of_its_container(tmp_path: Path) -> None:
    ran = Ran(tmp_path, front="crash_later")
    assert ran.code == Exit.FAILED
    found = ran.figures["diagnosis"]
    assert found["service"] == "front"
    assert "Exited (9)" in found["state"]
    assert any("front serves at" in line for line in found["last_log_lines"])


def test_a_network_that_can_not_go_away_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody's container hangs on the project's network: `down` leaves it behind."""
    engine, ask, held = connect(os.environ), cycles.Cycles._ask, []

    def join_and_ask(self: cycles.Cycles, *arguments: Any) -> Any:
        runtime = self._runtime
        assert isinstance(runtime, ComposeRuntime)
        image = os.environ.get("PYTHON_IMAGE", "python:3.13-slim")
        made = engine.api.create_container(image, ["sleep", "60"])
        held.append((made["Id"], runtime.project))
        engine.api.start(made["Id"])
        engine.api.connect_container_to_network(made["Id"], f"{runtime.project}_default")
        return ask(self, *arguments)

    monkeypatch.setattr(cycles.Cycles, "_ask", join_and_ask)
    try:
        ran = Ran(tmp_path)
    finally:
        for identity, _ in held:
            engine.api.remove_container(identity, force=True)
    assert ran.code == Exit.FAILED
    assert "networks-left" in ran.failed()
    engine.close()
    project = held[0][1]
    assert [thing.kind for thing in left_of(project)] == ["network"]
    for record in records._records():  # as if this program had ended
        record.harness_birth = "gone"
        record.save()
    assert f"removed network {project}_default" in records.sweep()
    assert left_of(project) == []
