"""ledger.py: show, verify, resolve, remediate, contract."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ledger as script
import pytest
import yaml
from bundles import finish, make_key, open_run
from fakes.system import stack_value
from ledgers import envelope

from common.cli import ConfigurationError, Exit, ScriptError, UsageError
from evidence import criteria
from evidence import envelope as envelope_module
from evidence.envelope import commit_of, contract_sha256
from gating import gate_file, ledger_steps
from gating.commands import script_command
from gating.contract import bump, lock_path_of
from gating.ledger import Ledger, verify
from gating.ledger_runs import ENDED, STARTED, ended_fields, started_fields
from stack.load import load_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

GATE = """\
version: 1
name: {name}
title: {name}
{requires}measures: [{{script: run_nothing, arguments: [], rehearsal: []}}]
evidence: "{name}-summary.json"
criteria:
  - {{id: one, metric: /one, equals: 1, unit: ones, why: "One is one."}}
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=no")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Place:
    """A checkout with a stack file, its contract, two gates, a key, and a ledger to fill."""

    def __init__(self, folder: Path) -> None:
        self.kit = folder / "kit"
        self.kit.mkdir()
        (self.kit / "run_gate.py").touch()
        git(self.kit, "init", "--quiet")
        git(self.kit, "add", "--all")
        git(self.kit, "commit", "--quiet", "-m", "x")
        self.gates, self.checkout = folder / "gates", folder / "checkout"
        self.gates.mkdir()
        self.checkout.mkdir()
        for name, requires in (("gate1", ""), ("gate2", "requires: gate1\n")):
            text = GATE.format(name=name, requires=requires)
            (self.gates / f"{name}.yaml").write_text(text)
        self.stack_file = self.checkout / "stack.yaml"
        self.stack_file.write_text(yaml.safe_dump(stack_value()))
        git(self.checkout, "init", "--quiet")
        self.lock()
        self.commit()
        self.pair = make_key(folder / "key")
        self.output = folder / "runs"
        self.ledger = Ledger(self.output / "ledger.jsonl", self.pair.signer)

    def lock(self) -> None:
        stack = load_stack(self.stack_file, {})
        bump(stack, lock_path_of(stack))

    def step(self, gate: str, arguments: str = "") -> str:
        """The advice to run a gate, as it has to be typed."""
        where = f"--stack {self.stack_file} --output-dir {self.output}"
        return f'run `make {gate} ARGS="{arguments}{where}"`'

    def commit(self) -> str:
        commit_of.cache_clear()
        git(self.checkout, "add", "--all")
        git(self.checkout, "commit", "--quiet", "--allow-empty", "-m", "x")
        return git(self.checkout, "rev-parse", "HEAD")

    def facts(self) -> dict[str, Any]:
        stack = load_stack(self.stack_file, {})
        sha = git(self.checkout, "rev-parse", "HEAD")
        contract = contract_sha256(stack)
        kit = git(self.kit, "rev-parse", "HEAD")
        return envelope(sha, contract=contract, stack=stack.sha256, name=stack.name, kit=kit)

    def run(self, gate: str, verdict: str, requires: str | None = None) -> str:
        facts = self.facts()
        run_id = f"20260101-{len(self.ledger.entries()):06}"
        fields = started_fields(gate, run_id, facts, requires=requires, rehearsal=False)
        self.ledger.append(STARTED, **fields)
        end = ended_fields(
            gate,
            run_id,
            facts,
            rehearsal=False,
            verdict=verdict,
            reservations=(),
            manifest_sha256="e" * 64,
        )
        self.ledger.append(ENDED, **end)
        return run_id

    def main(self, command: str, *words: str, stack: bool = True, key: bool = True) -> Exit:
        argv = [command, "--output-dir", str(self.output), *words]
        argv += ["--stack", str(self.stack_file)] if stack else []
        private = str(self.pair.public.with_suffix(".pem"))
        public = str(self.pair.public)
        argv += ["--key", public if command in {"show", "verify"} else private] if key else []
        return script.main(argv)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    for module in (criteria, envelope_module, gate_file):
        monkeypatch.setattr(module, "GATE_FOLDER", tmp_path / "gates")
    monkeypatch.setattr(ledger_steps, "ROOT", tmp_path / "kit")
    yield Place(tmp_path)
    commit_of.cache_clear()


def shown(place: Place, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert place.main("show", "--json", *words) == Exit.PASSED
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return value


def steps(place: Place, capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, str]]:
    gates = shown(place, capsys)["gates"]
    return {row["gate"]: (row["status"], row["next_step"]) for row in gates}


def test_the_way_through_the_gates_is_shown(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    sha = git(place.checkout, "rev-parse", "HEAD")[:7]
    wait = f"gate1 has not passed on commit {sha}: " + place.step("gate1")
    assert steps(place, capsys) == {
        "gate1": ("not run", place.step("gate1")),
        "gate2": ("not run", wait),
    }
    failed = place.run("gate1", "failed")
    status, step = steps(place, capsys)["gate1"]
    assert status == "failed"
    assert f"resolve it first: `{script_command('ledger', 'resolve', failed)}" in step
    fix = place.commit()
    place.main("resolve", failed, "--root-cause", "a leak", "--fix-commit", fix)
    assert steps(place, capsys)["gate1"] == ("failed", place.step("gate1"))
    place.run("gate1", "passed")
    assert steps(place, capsys) == {
        "gate1": ("passed", f"none: it stands for commit {fix[:7]}"),
        "gate2": ("not run", place.step("gate2")),
    }
    (place.checkout / "more").touch()
    commit_of.cache_clear()
    assert "the working tree has changes" in steps(place, capsys)["gate2"][1]


def test_a_contract_that_is_refused_is_the_next_step(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """What run_gate.py refuses is not advised."""
    lock = place.checkout / "contract.lock.yaml"
    text = lock.read_text()
    lock.unlink()
    assert "expected a contract lock, got no file" in steps(place, capsys)["gate1"][1]
    lock.write_text(text)
    gate = place.gates / "gate1.yaml"
    gate.write_text(gate.read_text().replace("equals: 1", "equals: 2"))
    line = steps(place, capsys)["gate1"][1]
    assert "changed without a higher version" in line
    assert "ledger.py contract --bump" in line
    assert "\n" not in line


def test_a_contract_that_the_ledger_knows_as_another_is_refused_until_it_is_bumped(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """An amended commit leaves no trace in the history of HEAD."""
    place.ledger.append("contract", stack="fake", version=1, sha256="e" * 64)
    line = f"expected {'e' * 64} (version 1 in the ledger)"
    assert line in steps(place, capsys)["gate1"][1]
    assert place.main("contract") == Exit.FAILED
    assert line in capsys.readouterr().out
    assert place.main("contract", "--bump") == Exit.PASSED
    assert place.main("contract") == Exit.PASSED
    assert [entry.fields["version"] for entry in place.ledger.entries()] == [1, 2]
    assert steps(place, capsys)["gate1"][1] == place.step("gate1")


def test_a_pass_stands_for_its_runtime_and_its_kit(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    value = yaml.safe_load(place.stack_file.read_text())
    value["runtimes"]["compose"] = {"file": "compose.yaml"}
    place.stack_file.write_text(yaml.safe_dump(value, sort_keys=False))
    (place.checkout / "compose.yaml").write_text("services: {}\n")
    place.lock()
    place.commit()
    place.run("gate1", "passed")
    assert "none: it stands" in steps(place, capsys)["gate1"][1]
    gates = shown(place, capsys, "--runtime", "compose")["gates"]
    assert gates[0]["runtime"] == "process"
    assert gates[0]["next_step"] == place.step("gate1", "--runtime compose ")
    assert "on this runtime: expected compose, got process" in gates[1]["next_step"]
    assert place.step("gate1", "--runtime compose ") in gates[1]["next_step"]
    with pytest.raises(ConfigurationError, match="--runtime none: expected one of process"):
        place.main("show", "--runtime", "none")
    (place.kit / "more").touch()
    commit_of.cache_clear()
    assert steps(place, capsys)["gate1"][1] == place.step("gate1")
    assert "the Proof Pack has changes" in steps(place, capsys)["gate2"][1]


def test_of_a_system_that_somebody_else_started_no_commit_is_known(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    value = yaml.safe_load(place.stack_file.read_text())
    service = next(
        item for item in value["services"] if item["name"] == value["workload"]["service"]
    )
    service["url_env"] = "THEIR_URL"
    place.stack_file.write_text(yaml.safe_dump(value))
    place.lock()
    place.commit()
    place.run("gate1", "passed")
    monkeypatch.setenv("THEIR_URL", "http://127.0.0.1:9")
    found = steps(place, capsys)
    assert found["gate1"][1] == place.step("gate1")
    assert "the commit is not known" in found["gate2"][1]


def test_a_ledger_that_was_put_back_is_said_and_refused(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run("gate1", "passed")
    folder = open_run(place.output)
    gate = {"name": "gate1", "ledger_sha256": "e" * 64}
    summary = {"gate": gate, "key": {"keyid": place.pair.signer.keyid}}
    folder.write_json(f"gate1-summary-{folder.run_id}.json", summary)
    finish(folder, place.pair.signer)
    for _, step in steps(place, capsys).values():
        assert "the ledger was put back or is another one" in step
    assert place.main("verify", stack=False) == Exit.FAILED
    assert "REFUSED" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["--markdown", None])
def test_table_and_log_are_printed(
    form: str | None, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = place.run("gate1", "passed")
    assert place.main("show", *([form] if form else [])) == Exit.PASSED
    out = capsys.readouterr().out
    assert "Gates of fake" in out
    assert out.count(run_id) == 3
    assert ("| --- | --- |" in out) == (form == "--markdown")
    assert verify(place.ledger.path, place.pair.signer.public)[-1].sha256 in out
    assert "NOT CHECKED" not in out


def test_a_show_without_the_key_says_so(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.run("gate1", "passed")
    assert place.main("show", key=False) == Exit.PASSED
    assert "SIGNATURE NOT CHECKED, give --key KEY.pub" in capsys.readouterr().out
    assert place.main("show", "--json", key=False) == Exit.PASSED
    assert json.loads(capsys.readouterr().out)["verified"] is False


def test_an_empty_ledger_can_be_shown(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.main("show", key=False) == Exit.PASSED
    assert "no entry yet" in capsys.readouterr().out
    assert not place.output.exists()


def test_a_forged_ledger_is_not_shown(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Refused as `verify` refuses it, with the same exit code."""
    place.run("gate1", "failed")
    path = place.ledger.path
    path.write_text(path.read_text().replace('"failed"', '"passed"'))
    assert place.main("show") == Exit.FAILED
    out = capsys.readouterr().out
    assert out.startswith("REFUSED ")
    assert "expected the head" in out


def test_verify_names_the_head_to_remember(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run("gate1", "passed")
    remembered = place.ledger.entries()[-1].sha256
    place.run("gate2", "passed", requires="gate1")
    for words in ((), ("--head-sha256", remembered)):
        assert place.main("verify", *words, stack=False) == Exit.PASSED
    out = capsys.readouterr().out
    assert "verified: 4 entries" in out
    assert f"remember the head: {place.ledger.entries()[-1].sha256}" in out


def test_verify_finds_that_an_old_copy_was_put_back(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run("gate1", "passed")
    old = {path: path.read_bytes() for path in place.output.iterdir()}
    place.run("gate1", "failed")
    remembered = place.ledger.entries()[-1].sha256
    for path, data in old.items():
        path.write_bytes(data)
    assert place.main("verify", stack=False) == Exit.PASSED
    words = ("--head-sha256", remembered)
    assert place.main("verify", *words, stack=False) == Exit.FAILED
    assert f"REFUSED expected an entry with the remembered head {remembered}" in (
        capsys.readouterr().out
    )


def test_verify_refuses_a_removed_ledger_that_is_remembered(place: Place) -> None:
    assert place.main("verify", "--head-sha256", "a" * 64, stack=False) == Exit.FAILED


def test_the_ledger_may_stand_elsewhere(place: Place, tmp_path: Path) -> None:
    place.run("gate1", "passed")
    place.output.rename(tmp_path / "moved")
    words = ("--ledger", str(tmp_path / "moved" / "ledger.jsonl"))
    assert place.main("verify", *words, stack=False) == Exit.PASSED


def test_nothing_to_verify_is_no_pass(place: Place) -> None:
    with pytest.raises(ScriptError, match=r"expected a ledger .*ledger\.jsonl, got none") as caught:
        place.main("verify", stack=False)
    assert caught.value.code == Exit.INCONCLUSIVE


def test_verify_refuses_an_edit_and_another_key(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run("gate1", "passed")
    other = make_key(tmp_path, "other").public
    argv = ["verify", "--output-dir", str(place.output), "--key", str(other)]
    assert script.main(argv) == Exit.FAILED
    path = place.ledger.path
    path.write_bytes(path.read_bytes()[:-1])
    assert place.main("verify", stack=False) == Exit.FAILED
    out = capsys.readouterr().out
    assert "REFUSED" in out
    assert "expected a head signed by key" in out
    assert "expected a final newline" in out


def test_a_cause_is_written_for_a_failed_run_alone(place: Place) -> None:
    sha = git(place.checkout, "rev-parse", "HEAD")
    passed = place.run("gate1", "passed")
    for run_id in (passed, "20300101-000000"):
        with pytest.raises(UsageError, match=r"expected the id of a failed run \(there is none\)"):
            place.main("resolve", run_id, "--root-cause", "x", "--fix-commit", sha)
    failed = place.run("gate1", "failed")
    with pytest.raises(UsageError, match=rf"failed run \({failed}\)"):
        place.main("resolve", passed, "--root-cause", "x", "--fix-commit", sha)
    sha = place.commit()
    assert place.main("resolve", failed, "--root-cause", " a leak ", "--fix-commit", sha) == 0
    entry = place.ledger.entries()[-1]
    assert (entry.entry, entry.fields) == (
        "resolve",
        {"gate": "gate1", "run_id": failed, "root_cause": "a leak", "fix_commit": sha},
    )


def test_what_the_failed_commit_contained_is_no_fix(place: Place) -> None:
    older = git(place.checkout, "rev-parse", "HEAD")
    same = place.commit()
    failed = place.run("gate1", "failed")
    for sha, words in ((same, "is the commit that failed"), (older, "was already part of")):
        with pytest.raises(UsageError, match=f"--fix-commit: {sha[:7]}, given .*{words}"):
            place.main("resolve", failed, "--root-cause", "x", "--fix-commit", sha)
    assert len(place.ledger.entries()) == 2


def test_a_second_cause_says_that_it_replaces_the_first(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = place.run("gate1", "failed")
    words = ("resolve", failed, "--root-cause", "x", "--fix-commit", place.commit())
    place.main(*words)
    assert "replaces" not in capsys.readouterr().out
    place.main(*words)
    assert "this replaces entry 3, which stays in the log" in capsys.readouterr().out
    place.main("show")
    out = capsys.readouterr().out
    assert "(replaced by entry 4)" in out
    assert "(replaces entry 3)" in out


@pytest.mark.parametrize("sha", ["HEAD", "0" * 40, "abc", "--all"])
def test_a_fix_is_a_whole_commit_of_the_checkout(sha: str, place: Place) -> None:
    failed = place.run("gate1", "failed")
    with pytest.raises(UsageError, match="--fix-commit: expected the 40 hex digits of a commit"):
        place.main("resolve", failed, "--root-cause", "x", f"--fix-commit={sha}")


def test_an_empty_text_explains_nothing(place: Place) -> None:
    failed = place.run("gate1", "failed")
    sha = git(place.checkout, "rev-parse", "HEAD")
    with pytest.raises(UsageError, match="--root-cause: expected a text"):
        place.main("resolve", failed, "--root-cause", " ", "--fix-commit", sha)
    words = ("--examined", "x", "--changes", "x", "--by", "")
    with pytest.raises(UsageError, match="--by: expected a text"):
        place.main("remediate", failed, *words, stack=False)


def test_a_remediation_is_written(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    failed = place.run("gate1", "failed")
    words = ("--examined", "the pool", "--changes", "a bound", "--by", "Ann")
    assert place.main("remediate", failed, *words, stack=False) == Exit.PASSED
    assert f"entry 3: remediate gate1 {failed}" in capsys.readouterr().out
    assert place.ledger.entries()[-1].fields["by"] == "Ann"


def test_the_contract_is_locked_logged_and_checked(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    (place.checkout / "contract.lock.yaml").unlink()
    place.commit()
    assert place.main("contract") == Exit.FAILED
    assert "REFUSED" in capsys.readouterr().out
    git(place.checkout, "checkout", "--quiet", "HEAD~1")
    for _ in range(2):  # the second time there is nothing to do
        assert place.main("contract", "--bump") == Exit.PASSED
    assert place.main("contract") == Exit.PASSED
    assert "contract version 1 is" in capsys.readouterr().out
    gate = place.gates / "gate1.yaml"
    gate.write_text(gate.read_text().replace("equals: 1", "equals: 2"))
    assert place.main("contract") == Exit.FAILED
    assert "changed without a higher version" in capsys.readouterr().out
    assert place.main("contract", "--bump") == Exit.PASSED
    logged = [entry.fields["version"] for entry in place.ledger.entries()]
    assert logged == [1, 2]


def test_a_lock_that_was_not_logged_is_logged_by_the_next_bump(place: Place) -> None:
    place.main("contract", "--bump")
    for path in place.output.iterdir():
        path.unlink()
    place.main("contract", "--bump")
    assert [entry.fields["version"] for entry in place.ledger.entries()] == [1]


def test_a_version_of_the_ledger_is_not_given_twice(place: Place) -> None:
    place.main("contract", "--bump")
    (place.checkout / "contract.lock.yaml").unlink()
    gate = place.gates / "gate1.yaml"
    gate.write_text(gate.read_text().replace("equals: 1", "equals: 2"))
    place.main("contract", "--bump")
    assert [entry.fields["version"] for entry in place.ledger.entries()] == [1, 2]


def test_the_lock_may_stand_elsewhere(place: Place, tmp_path: Path) -> None:
    words = ("--lock", str(tmp_path / "other.lock.yaml"))
    assert place.main("contract", "--bump", *words) == Exit.PASSED
    assert place.main("contract", *words) == Exit.PASSED
    (place.checkout / "contract.lock.yaml").unlink()
    assert place.main("contract") == Exit.FAILED


def test_a_gate_that_has_no_file_any_more_is_shown(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.run("gate9", "passed")
    assert steps(place, capsys)["gate9"][0] == "passed"


def test_a_missing_command_or_stack_is_one_line(place: Place, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="COMMAND"):
        script.main([])
    with pytest.raises(ConfigurationError, match="can't read"):
        script.main(["show", "--stack", str(tmp_path / "none.yaml")])
    assert not place.output.exists()


def test_help_names_what_verify_can_not_find() -> None:
    done = subprocess.run(
        [sys.executable, script.__file__, "--help"], capture_output=True, text=True, check=True
    )
    assert "--head-sha256" in done.stdout
    assert Path(script.__file__).name == "ledger.py"
