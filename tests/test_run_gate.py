"""scripts/run_gate.py: the rules of G7 on real runs of a fake system."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import ledger
import pytest
import run_cycles
import run_gate
import show_status
from fakes.soak_system import soak_value
from fakes.system import stack_value, write_value

from common.cli import ConfigurationError, Exit, ScriptError, UsageError
from evidence import criteria, envelope
from evidence.files import ArtifactError
from evidence.public_key import load_public_key
from evidence.recorder import Recorder
from gating import cycles, gate_file, recorded
from gating.commands import script_command
from gating.contract import bump, lock_path_of
from gating.ledger import Entry, verify
from gating.ledger_runs import started_fields
from soak import hard_stop, measuring
from soak.minute_writer import MinuteWriter
from stack.load import load_stack

if TYPE_CHECKING:
    from pathlib import Path

SHORT = ("--cycles", "1", "--intervals", "2", "--interval-seconds", "0.05")


class Checkout:
    """A checkout with a fake system in it, whose gate is run again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.value = folder / "system", stack_value()
        self.output = folder / "out"
        self.folder.mkdir(parents=True)
        self.git("init", "--quiet")
        self.commit()

    def git(self, *arguments: str) -> str:
        """Run git in the checkout."""
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        command = ["git", "-C", str(self.folder), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, fault: str = "") -> str:
        """Write the stack file, with a fault in `jobs`, and commit it."""
        services = self.value["runtimes"]["process"]["services"]
        services["jobs"]["environment"]["FAULT"] = fault
        stack = load_stack(write_value(self.folder, self.value), {})
        bump(stack, lock_path_of(stack))
        self.git("add", ".")
        self.git("commit", "--quiet", "--allow-empty", "-m", f"fault {fault}")
        return self.git("rev-parse", "HEAD")

    def run(self, *arguments: str, gate: str = "gate1") -> int:
        """Run a gate."""
        envelope.commit_of.cache_clear()  # one process is one run, elsewhere
        return run_gate.main([gate, *self.where, *arguments])

    @property
    def where(self) -> list[str]:
        """The options that mean this system."""
        return ["--stack", str(self.folder / "stack.yaml"), "--output-dir", str(self.output)]

    def entries(self) -> list[Entry]:
        """What the ledger says."""
        key = load_public_key(self.output.parent / "config/signing-key.pub")
        return [*verify(self.output / "ledger.jsonl", key)]

    def resolve(self, fix: str) -> int:
        """Give the last run its root cause."""
        run_id = str(self.entries()[-1].fields["run_id"])
        why = ["--root-cause", "SIGTERM was ignored", "--fix-commit", fix]
        return ledger.main(["resolve", run_id, *why, *self.where])


@pytest.fixture
def checkout(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Checkout:
    if "short_is_full" in request.fixturenames:
        request.getfixturevalue("short_is_full")  # the gates are in the contract
    found = Checkout(tmp_path)
    # Proof Pack itself in a clean checkout, as a release wants it.
    monkeypatch.setattr(envelope, "KIT_FOLDER", Checkout(tmp_path / "kit").folder)
    return found


@pytest.fixture
def short_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gates of one cycle and two intervals: whole ones that take a second."""
    values = {"CYCLES": 1, "INTERVALS": 2, "INTERVAL_SECONDS": 0.05}
    for name, value in values.items():
        monkeypatch.setattr(run_cycles, name, value)
    full = run_cycles.parse
    monkeypatch.setattr(run_cycles, "parse", lambda argv: full([*(argv or ()), *SHORT]))
    gates = tmp_path / "gates"
    gates.mkdir()
    text = (criteria.GATE_FOLDER / "gate1.yaml").read_text()
    text = text.replace("at_least: 10,", "at_least: 1,").replace("at_least: 360,", "at_least: 2,")
    (gates / "gate1.yaml").write_text(text)
    second = text.replace("name: gate1", "name: gate2\nrequires: gate1")
    (gates / "gate2.yaml").write_text(second)
    for module in (criteria, envelope, gate_file):
        monkeypatch.setattr(module, "GATE_FOLDER", gates)


def test_a_rehearsal_is_recorded_and_marked(checkout: Checkout) -> None:
    assert checkout.run("--rehearse", "--", *SHORT) == Exit.PASSED
    started, ended = checkout.entries()
    assert (started.entry, ended.entry) == ("gate_started", "gate_ended")
    assert ended.fields["rehearsal"] is True
    assert ended.fields["verdict"] == "passed"
    assert "a rehearsal" in ended.fields["reservations"]
    (path,) = checkout.output.glob("*/evidence/gate1-summary-*.json")
    summary = json.loads(path.read_text())
    assert summary["run_id"] == ended.fields["run_id"]
    assert summary["gate"]["ledger_sha256"] == started.sha256
    assert not summary["eligible"]["value"]


def test_a_shortened_run_that_is_called_no_rehearsal_is_refused(checkout: Checkout) -> None:
    with pytest.raises(UsageError, match=r"shortened: 1 cycles.*that is a rehearsal: add"):
        checkout.run("--", *SHORT)
    assert not checkout.output.exists()


def test_an_unknown_gate_names_the_known_ones(checkout: Checkout) -> None:
    with pytest.raises(UsageError, match=r"expected a gate \(gate1.*\), got 'gate9'"):
        checkout.run(gate="gate9")


@pytest.mark.usefixtures("short_is_full")
def test_a_failed_gate_waits_for_its_root_cause(checkout: Checkout) -> None:
    """G7: no rerun before a root cause and a fix commit that the rerun contains."""
    checkout.commit(fault="ignore_sigterm")
    assert checkout.run() == Exit.FAILED
    fix = checkout.commit()
    with pytest.raises(ScriptError, match=r"gate1 can't start: .* failed.*ledger.py resolve"):
        checkout.run()
    assert [item.entry for item in checkout.entries()] == ["gate_started", "gate_ended"]
    assert checkout.resolve(fix) == Exit.PASSED
    assert checkout.run() == Exit.PASSED
    assert checkout.entries()[-1].fields["verdict"] == "passed"


@pytest.mark.usefixtures("short_is_full")
def test_the_fix_has_to_be_in_the_commit_of_the_rerun(checkout: Checkout) -> None:
    first = checkout.commit(fault="ignore_sigterm")
    assert checkout.run() == Exit.FAILED
    fix = checkout.commit()
    assert checkout.resolve(fix) == Exit.PASSED
    checkout.git("checkout", "--quiet", first)
    with pytest.raises(ScriptError, match=f"lacks {fix[:7]}, the fix of run"):
        checkout.run()


@pytest.mark.usefixtures("short_is_full")
def test_two_failures_need_a_remediation(checkout: Checkout) -> None:
    for _ in range(2):
        fix = checkout.commit(fault="ignore_sigterm")
        assert checkout.run() == Exit.FAILED
        assert checkout.resolve(checkout.commit()) == Exit.PASSED
    with pytest.raises(ScriptError, match=r"it has failed 2 times.*remediate it first"):
        checkout.run()
    run_id = str(checkout.entries()[-1].fields["run_id"])
    what = ["--examined", "the handler", "--changes", "a test for it", "--by", "the founders"]
    remediated = ["remediate", run_id, *what, "--output-dir", str(checkout.output)]
    assert ledger.main(remediated) == Exit.PASSED
    assert checkout.run() == Exit.PASSED
    assert fix


@pytest.mark.usefixtures("short_is_full")
def test_a_gate_waits_for_the_one_that_it_requires(checkout: Checkout) -> None:
    """G7: not passed, only rehearsed, passed on another commit: each refused; then it starts."""
    with pytest.raises(ScriptError, match=r"gate2 can't start: gate1 has not passed.*make gate1"):
        checkout.run(gate="gate2")
    assert checkout.run("--rehearse") == Exit.PASSED
    with pytest.raises(ScriptError, match=r"its rehearsal .* does not count"):
        checkout.run(gate="gate2")
    assert checkout.run() == Exit.PASSED
    assert checkout.run(gate="gate2") == Exit.PASSED
    checkout.commit()
    with pytest.raises(ScriptError, match="gate1 has not passed on commit"):
        checkout.run(gate="gate2")


@pytest.mark.usefixtures("short_is_full")
def test_a_changed_working_tree_is_not_what_the_gate_before_passed_on(checkout: Checkout) -> None:
    assert checkout.run() == Exit.PASSED
    (checkout.folder / "new.py").write_text("x = 1\n")
    with pytest.raises(ScriptError, match="the working tree has changes"):
        checkout.run(gate="gate2")


@pytest.mark.usefixtures("short_is_full")
def test_a_refused_gate_leaves_no_folder_and_no_entry(checkout: Checkout) -> None:
    with pytest.raises(ScriptError, match="gate1 has not passed"):
        checkout.run(gate="gate2")
    assert [path.name for path in checkout.output.glob("*")] == []


@pytest.mark.usefixtures("short_is_full")
def test_a_changed_contract_needs_a_new_version(checkout: Checkout) -> None:
    checkout.value["description"] = "another one"
    write_value(checkout.folder, checkout.value)
    with pytest.raises(ConfigurationError, match="the contract has changed without a higher"):
        checkout.run()
    assert not checkout.output.exists()


@pytest.mark.usefixtures("short_is_full")
@pytest.mark.parametrize(("fault", "verdict"), [("", "inconclusive"), ("ignore_sigterm", "failed")])
def test_a_run_that_is_not_sealed_is_no_pass_and_may_be_a_failure(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, fault: str, verdict: str
) -> None:
    from evidence import seal

    def full_disk(*_: object, **__: object) -> None:
        raise ArtifactError("can't write it: no space left on device: free space")

    monkeypatch.setattr(seal, "seal", full_disk)
    checkout.commit(fault)
    with pytest.raises(ArtifactError):
        checkout.run()
    ended = checkout.entries()[-1]
    assert ended.fields["verdict"] == verdict
    assert ended.fields["manifest_sha256"] is None


@pytest.mark.usefixtures("short_is_full")
def test_ctrl_c_after_a_failure_hides_nothing(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the second between the failed check and the stop: still a failure."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    checkout.commit(fault="flicker:3")
    with monkeypatch.context() as once:
        once.setattr(cycles.Cycles, "_state_of", interrupted)
        assert checkout.run() == Exit.INTERRUPTED
    assert checkout.entries()[-1].fields["verdict"] == "failed"
    (path,) = checkout.output.glob("*/evidence/gate1-summary-*.json")
    assert json.loads(path.read_text())["verdict"] == "failed"
    with pytest.raises(ScriptError, match="resolve it first"):
        checkout.run()


@pytest.mark.usefixtures("short_is_full")
def test_a_failure_is_in_the_ledger_before_the_system_is_stopped(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill -9 right after a failed check gains nothing."""
    seen: list[str] = []

    def look(*_: object) -> str:
        seen.append(str(checkout.entries()[-1].fields.get("verdict")))
        return "looked"

    checkout.commit(fault="flicker:3")
    monkeypatch.setattr(cycles.Cycles, "_state_of", look)
    assert checkout.run() == Exit.FAILED
    assert seen == ["failed"]
    assert [item.entry for item in checkout.entries()] == ["gate_started", "gate_ended"]


@pytest.mark.usefixtures("short_is_full")
def test_a_full_disk_after_a_failure_is_still_a_failure(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise ArtifactError("can't write it: no space left on device: free space")

    checkout.commit(fault="ignore_sigterm")
    monkeypatch.setattr(cycles.Cycles, "write_log", full_disk)
    with pytest.raises(ArtifactError):
        checkout.run()
    assert checkout.entries()[-1].fields["verdict"] == "failed"


@pytest.mark.usefixtures("short_is_full")
def test_what_changes_during_the_run_makes_its_pass_worthless(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = cycles.Cycles._find_changed

    def change(self: cycles.Cycles) -> list[str]:
        (checkout.folder / "new.py").write_text("x = 1\n")
        return find(self)

    monkeypatch.setattr(cycles.Cycles, "_find_changed", change)
    assert checkout.run() == Exit.PASSED
    reasons = checkout.entries()[-1].fields["reservations"]
    assert "the commit or its working tree changed during the run" in reasons
    (checkout.folder / "new.py").unlink()
    with pytest.raises(ScriptError, match="gate1 has not passed on commit"):
        checkout.run(gate="gate2")


@pytest.mark.usefixtures("short_is_full")
def test_a_port_in_use_is_no_failure_of_the_gate(checkout: Checkout) -> None:
    port = int(checkout.value["services"][0]["url"].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        assert checkout.run() == Exit.INCONCLUSIVE
    assert checkout.entries()[-1].fields["verdict"] == "inconclusive"
    assert checkout.run() == Exit.PASSED


def test_an_option_of_the_script_before_the_dashes_is_told_its_place() -> None:
    place = "options of the script that measures come after ` -- `"
    with pytest.raises(UsageError, match=f"--duration is no option of a gate: {place}"):
        run_gate.parse(["gate2", "--rehearse", "--duration", "5m"])


def test_a_mistake_in_a_gate_file_is_named_with_the_file(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = tmp_path / "typo"
    gates.mkdir()
    text = (criteria.GATE_FOLDER / "gate1.yaml").read_text()
    assert '"--cycles"' in text
    (gates / "gate1.yaml").write_text(text.replace('"--cycles"', '"--cycels"'))
    for module in (criteria, envelope, gate_file):
        monkeypatch.setattr(module, "GATE_FOLDER", gates)
    with pytest.raises(ConfigurationError) as refused:
        checkout.run("--rehearse")
    assert str(refused.value).startswith(f"{gates / 'gate1.yaml'}: rehearsal of run_cycles: ")
    assert "--cycels" in str(refused.value)


def test_a_stack_that_cant_be_soaked_is_refused_before_the_ledger(checkout: Checkout) -> None:
    with pytest.raises(ConfigurationError, match="has no traffic"):
        checkout.run("--rehearse", gate="gate2")
    assert not checkout.output.exists()


def test_a_failed_soak_is_in_the_ledger_before_its_evidence_is_gathered(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    gather = hard_stop.write_evidence

    def look(*arguments: Any) -> list[str]:
        seen.append(str(checkout.entries()[-1].fields.get("verdict")))
        return gather(*arguments)

    write_value(checkout.folder, soak_value("crash", 0.5))
    monkeypatch.setattr(measuring, "write_evidence", look)
    short = ("--rehearse", "--", "--duration", "30s", "--no-live")
    assert checkout.run(*short, gate="gate2") == Exit.FAILED
    assert seen == ["failed"]
    assert [item.entry for item in checkout.entries()] == ["gate_started", "gate_ended"]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupted_gate_2_is_gone_on_with_by_the_gate(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    write_value(checkout.folder, soak_value())
    typed = ["--rehearse", "--", "--duration", "3s", "--no-live"]
    with monkeypatch.context() as once:
        once.setattr(MinuteWriter, "begin", interrupt)
        assert checkout.run(*typed, gate="gate2") == Exit.INTERRUPTED
    (run_id,) = (path.name for path in (checkout.output / "soaks").iterdir())
    this = shlex.split(script_command("run_gate"))
    words = [*this, "gate2", *checkout.where, *typed, "--resume", run_id]
    assert f"go on with: {shlex.join(words)}\n" in capsys.readouterr().out
    show_status.main(["--output-dir", str(checkout.output)])
    waits = f"interrupted soak {run_id} waits: go on with `{shlex.join(words)}`;\n"
    assert waits in capsys.readouterr().out
    assert run_gate.main(words[2:]) != Exit.PASSED
    show_status.main(["--output-dir", str(checkout.output)])
    assert "waits" not in capsys.readouterr().out


def test_an_option_of_the_gate_after_the_dashes_is_refused(checkout: Checkout) -> None:
    with pytest.raises(UsageError, match="--runtime is an option of the gate"):
        checkout.run("--rehearse", "--", "--runtime", "compose")


@pytest.mark.usefixtures("short_is_full")
def test_a_ledger_that_is_put_back_forgets_nothing(checkout: Checkout) -> None:
    """The bundle of the failed run names an entry that the older ledger has not."""
    assert checkout.run() == Exit.PASSED
    kept = {path: path.read_bytes() for path in checkout.output.glob("ledger.*")}
    checkout.commit(fault="ignore_sigterm")
    assert checkout.run() == Exit.FAILED
    for path, data in kept.items():
        path.write_bytes(data)
    with pytest.raises(ScriptError, match="put back"):
        checkout.run()


@pytest.mark.usefixtures("short_is_full")
def test_a_pass_of_a_changed_proof_pack_opens_nothing(
    checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says so before the time is spent."""
    (checkout.output.parent / "kit/system/new.py").write_text("x = 1\n")
    assert checkout.run() == Exit.PASSED
    said = "warning: the Proof Pack had changes: a pass of gate1 will open no other gate"
    assert capsys.readouterr().err.startswith(said)
    (checkout.output.parent / "kit/system/new.py").unlink()
    with pytest.raises(ScriptError, match="gate1 has not passed"):
        checkout.run(gate="gate2")


@pytest.mark.usefixtures("short_is_full")
def test_a_failure_that_was_sealed_and_not_recorded_is_recorded_by_the_next(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the seal and the ledger: that gains nothing."""
    checkout.commit(fault="ignore_sigterm")

    def end(*_: object) -> None:
        raise ProcessLookupError

    with monkeypatch.context() as killed:
        killed.setattr(Recorder, "fail", lambda *_: None)
        killed.setattr(recorded, "_record_end", end)
        killed.setattr(
            recorded, "started_fields", lambda *a, **k: started_fields(*a, **k) | {"birth": "x"}
        )
        with pytest.raises(ProcessLookupError):
            checkout.run()
    assert [item.entry for item in checkout.entries()] == ["gate_started"]
    with pytest.raises(ScriptError, match="resolve it first"):
        checkout.run()
    assert checkout.entries()[-1].fields["verdict"] == "failed"
