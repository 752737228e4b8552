"""scripts/run_proof_pack.py (P1-P10) against a fake system with faults on order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import run_proof_pack
from fakes.system import stack_value, write_stack, write_value

from common.cli import ConfigurationError, Exit, ScriptError, UsageError
from stack import records
from stack.load import load_stack
from stack.ports import local_ports, port_is_free

if TYPE_CHECKING:
    from collections.abc import Sequence

SCRIPT = Path(run_proof_pack.__file__)


class Proof:
    """Runs the script's main in this process and reads what it wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.output = folder, folder / "out"

    def __call__(self, *arguments: str, **faults: str) -> int:
        stack = write_stack(self.folder, **faults)
        return self.run(["--stack", str(stack), *arguments])

    def run(self, arguments: Sequence[str]) -> int:
        quick = ["--poll-seconds", "0.1", "--timeout-seconds", "3"]
        return run_proof_pack.main([*quick, "--output-dir", str(self.output), *arguments])

    @property
    def bundles(self) -> list[Path]:
        return sorted(path for path in self.output.glob("*") if path.is_dir())

    @property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.bundles[-1] / "evidence/run_summary.json").read_text()))


@pytest.fixture
def proof(tmp_path: Path) -> Proof:
    return Proof(tmp_path)


def outcomes(summary: dict[str, Any]) -> dict[str, str]:
    return {row["id"]: row["outcome"] for row in summary["criteria"]}


def test_a_working_system_passes_in_six_printed_steps(
    proof: Proof, capsys: pytest.CaptureFixture[str]
) -> None:
    """P1."""
    assert proof("--jobs", "12") == Exit.PASSED
    lines = capsys.readouterr().out.splitlines()
    assert [line[:5] for line in lines if line.startswith("[")] == [f"[{n}/6]" for n in range(1, 7)]
    assert set(outcomes(proof.summary).values()) == {"passed"}
    assert proof.summary["jobs"]["completed"] == 12
    assert proof.summary["persistence"]["verified_ratio"] == 1.0


def test_the_bundle_holds_what_p7_names_and_no_secret(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P7: the fake service writes its secret into its log on purpose."""
    secret = "planted-secret-0123456789abcdef0"
    monkeypatch.setenv("FAKE_KEY", secret)
    assert proof() == Exit.PASSED
    evidence = proof.bundles[0] / "evidence"
    names = {path.name for path in evidence.iterdir()}
    assert names >= {"run_summary.json", "e2e_trace.log", "trace.jsonl", "report.html", "junit.xml"}
    assert names >= {"jobs_logs.txt", "front_logs.txt"}
    assert "took" in (evidence / "jobs_logs.txt").read_text()
    for path in proof.bundles[0].rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("fault", "code", "criterion"),
    [
        ("fail_jobs", 2, "jobs-failed"),
        ("stuck", 2, "jobs-in-time"),
        ("refuse", 2, "jobs-submitted"),
        ("lose_results", 3, "results-stored"),
        ("wrong_results", 3, "results-stored"),
        ("duplicate", 3, "results-once"),
        ("same_id", 2, "jobs-submitted"),
        ("forget", 3, "results-confirmed"),
        ("ignore_sigterm", 1, "nothing-left"),
        ("orphan", 1, "nothing-left"),
    ],
)
def test_each_fault_fails_its_criterion_with_its_exit_code(
    proof: Proof, fault: str, code: int, criterion: str
) -> None:
    """P2; every failed run is sealed too."""
    assert proof(jobs=fault) == code
    assert proof.summary["verdict"] == "failed"
    assert proof.summary["exit_code"] == code
    assert outcomes(proof.summary)[criterion] == "failed"
    assert not proof.summary["eligible"]["value"]
    assert (proof.bundles[-1] / "sha256_manifest.txt.sig").is_file()


@pytest.mark.parametrize("fault", ["exit", "slow_health"])
def test_a_system_that_does_not_start_exits_1_and_is_sealed(proof: Proof, fault: str) -> None:
    """P2: 1; what was never measured is inconclusive, not passed."""
    assert proof(jobs=fault) == 1
    assert "passed" not in set(outcomes(proof.summary).values()) - {
        outcomes(proof.summary)["nothing-left"]
    }
    assert proof.summary["steps"][0]["outcome"] == "failed"
    assert proof.summary["steps"][3]["outcome"] == "skipped"


def test_a_service_that_sickens_after_the_start_exits_1(proof: Proof) -> None:
    assert proof(jobs="sicken") == 1
    assert outcomes(proof.summary)["services-healthy"] == "failed"


def test_a_memory_service_that_disagrees_fails(proof: Proof) -> None:
    """P6: the memory service is looked at where there is one."""
    assert proof(front="wrong_memory") == 3
    assert proof.summary["persistence"]["verified_ratio"] == 1.0
    assert outcomes(proof.summary)["results-confirmed"] == "failed"


def test_a_system_without_a_memory_service_says_skipped(proof: Proof) -> None:
    """P6: absent is "skipped", said so, never "passed"."""
    value = stack_value()
    del value["workload"]["verify"]["memory"]
    assert proof.run(["--stack", str(write_value(proof.folder, value))]) == 0
    assert proof.summary["persistence"]["memory"]["outcome"] == "skipped"


def test_an_optional_service_may_be_down(proof: Proof) -> None:
    value = stack_value(front="exit")
    value["services"][0]["required"] = False
    value["golden"] = []
    del value["workload"]["verify"]["memory"]
    assert proof.run(["--stack", str(write_value(proof.folder, value))]) == 0
    healthy = {row["name"]: row["healthy"] for row in proof.summary["services"]}
    assert healthy == {"front": False, "jobs": True}


def test_a_private_key_in_a_log_is_taken_out_before_the_log_is_cut(proof: Proof) -> None:
    """P7: the last 100 lines begin in the middle of the key."""
    assert proof(jobs="leak") == 0
    text = (proof.bundles[0] / "evidence/jobs_logs.txt").read_text()
    assert "line 69" in text
    assert "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" not in text


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--jobs", "3"], "shortened: 3 jobs, expected at least 10"),
        (["--strategies", "vanilla"], "shortened: not all strategies"),
        ([], "self-signed key"),
    ],
)
def test_a_run_that_can_not_count_says_why(proof: Proof, arguments: list[str], reason: str) -> None:
    """G7: shortened runs are real, and marked."""
    assert proof(*arguments) == 0
    assert reason in proof.summary["eligible"]["reasons"]
    assert proof.summary["eligible"]["value"] is False


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:99999", "http://127.0.0.1:x", "http://[::1", "http://a..b:1", "ftp://x"],
)
def test_a_broken_url_variable_is_78(
    proof: Proof, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("FAKE_JOBS_URL", url)
    with pytest.raises(ConfigurationError, match="FAKE_JOBS_URL: expected an http or https URL"):
        proof()


def test_url_variables_that_do_not_make_a_running_stack_are_78(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FRONT_URL", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="set FAKE_JOBS_URL too"):
        proof()
    monkeypatch.setenv("FAKE_JOBS_URL", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="nothing is started"):
        proof("--runtime", "process")


def test_a_cache_folder_that_can_not_be_is_78(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    (proof.folder / "file").write_text("in the way")
    monkeypatch.setenv("PROOF_PACK_CACHE_DIR", str(proof.folder / "file" / "cache"))
    with pytest.raises(ConfigurationError, match="set PROOF_PACK_CACHE_DIR"):
        proof()


def test_an_unwritable_step_summary_changes_no_verdict(
    proof: Proof, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(proof.folder / "none" / "summary.md"))
    assert proof() == 0
    assert "warning: " in capsys.readouterr().err


def test_the_same_arguments_submit_the_same_bytes(proof: Proof) -> None:
    """P3."""
    stack = write_stack(proof.folder)
    for _ in range(2):
        assert proof.run(["--stack", str(stack), "--jobs", "20"]) == 0
    first, second = (
        json.loads((bundle / "evidence/run_summary.json").read_text())["jobs"]["submissions_sha256"]
        for bundle in proof.bundles
    )
    assert first == second


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--jobs", "0"], "--jobs.*got '0'"),
        (["--jobs", "-3"], "--jobs.*got '-3'"),
        (["--jobs", "x"], "--jobs.*got 'x'"),
        (["--strategies", "brute"], "got 'brute'"),
        (["--targets", "moon"], "got 'moon'"),
        (["--concurrency", "65"], "at most 64"),
        (["--poll-seconds", "nan"], "above 0"),
        (["--surprise"], "unrecognized"),
    ],
)
def test_bad_arguments_are_64_and_start_nothing(
    proof: Proof, arguments: list[str], says: str
) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        proof(*arguments)
    assert caught.value.code == Exit.USAGE
    assert proof.bundles == []


def test_a_missing_or_broken_stack_file_is_78(proof: Proof) -> None:
    broken = proof.folder / "broken.yaml"
    broken.write_text("version: 1\nname: [\n")
    for path in (proof.folder / "none.yaml", broken):
        with pytest.raises(ConfigurationError) as caught:
            proof.run(["--stack", str(path)])
        assert caught.value.code == Exit.CONFIGURATION


def test_an_unknown_runtime_is_78(proof: Proof) -> None:
    with pytest.raises(ConfigurationError, match=r"\(process\), got 'moon'"):
        proof("--runtime", "moon")


def test_an_output_folder_that_is_a_file_is_4_and_starts_nothing(proof: Proof) -> None:
    """P2: 4."""
    proof.output.write_text("in the way")
    with pytest.raises(ScriptError) as caught:
        proof()
    assert caught.value.code == 4
    assert [*(proof.folder / "cache" / "state").glob("*")] == []


def test_artifacts_that_can_not_be_written_are_4_and_nothing_verifies(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P2: 4; the disk is full while the report is written."""

    def full(_self: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    stack = write_stack(proof.folder)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ScriptError, match="no space left") as caught:
        proof.run(["--stack", str(stack)])
    assert caught.value.code == 4
    assert [*proof.output.iterdir()] == []


def test_a_dead_control_plane_is_1_and_one_line(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P8, P2: 1."""
    monkeypatch.setenv("FAKE_JOBS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FAKE_KEY", "0123456789abcdef0123456789abcdef")
    assert proof() == 1
    assert "jobs does not answer at http://127.0.0.1:9/healthz" in proof.summary["error"]


def test_a_stack_that_already_runs_is_proven_and_left_running(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P8: the state folder and the secret of a stack that we run are found by themselves."""
    from stack.process import create

    file = write_stack(proof.folder)
    stack = load_stack(file, {})
    runtime = create(stack, {})
    try:
        runtime.start()
        monkeypatch.setenv("FAKE_JOBS_URL", stack.service("jobs").url)
        assert proof.run(["--stack", str(file)]) == 0
        assert proof.summary["runtime"] == "external"
        reasons = proof.summary["eligible"]["reasons"]
        assert "somebody else started the system" in reasons
        assert "not judged: nothing-left" in reasons
        assert proof.summary["commit"]["sha"] is None
        assert not any(map(port_is_free, local_ports(stack.services).values()))
    finally:
        runtime.stop()
        runtime.close()


def test_a_running_stack_with_an_unknown_store_does_not_pass(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P6: where the database can't be looked into, persistence is not proven."""
    from stack.process import create

    file = write_stack(proof.folder)
    runtime = create(load_stack(file, {}), {"FAKE_KEY": "0123456789abcdef0123456789abcdef"})
    try:
        runtime.start()
        runtime.record.remove()
        monkeypatch.setenv("FAKE_JOBS_URL", runtime.stack.service("jobs").url)
        monkeypatch.setenv("FAKE_KEY", "0123456789abcdef0123456789abcdef")
        assert proof.run(["--stack", str(file)]) == 3
        assert outcomes(proof.summary)["results-stored"] == "inconclusive"
        assert "--state" in proof.summary["persistence"]["store"]["detail"]
    finally:
        runtime.stop()
        runtime.close()


def test_a_running_stack_with_an_unknown_secret_is_78(
    proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_JOBS_URL", "http://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match="export FAKE_KEY"):
        proof()


def test_json_goes_to_stdout_and_steps_to_stderr(
    proof: Proof, capsys: pytest.CaptureFixture[str]
) -> None:
    assert proof("--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["verdict"] == "passed"
    assert "[6/6]" in said.err


def run_script(folder: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start the script as a user would, from another folder."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), "--output-dir", str(folder / "out"), *arguments],
        cwd=folder,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_reader_that_goes_away_costs_no_evidence(proof: Proof) -> None:
    """`| head -1`: the run is sealed, with its own exit code."""
    stack = write_stack(proof.folder)
    process = run_script(proof.folder, "--stack", str(stack), "--poll-seconds", "0.1")
    assert process.stdout
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert proof.summary["verdict"] == "passed"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("moment", ["[1/6]", "[2/6]"])
def test_ctrl_c_before_the_jobs_is_inconclusive(proof: Proof, moment: str) -> None:
    """What our own end left unmeasured says nothing about the system."""
    value = stack_value(front="slow_health" if moment == "[1/6]" else "")
    value["services"][0]["start_seconds"] = 30
    stack = write_value(proof.folder, value)
    process = run_script(proof.folder, "--stack", str(stack), "--jobs", "5000")
    assert process.stdout
    if moment == "[1/6]":
        while not [*proof.output.glob(".*.partial")]:
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
    else:
        while moment not in process.stdout.readline():
            assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=30)
    assert process.returncode == Exit.INTERRUPTED, errors
    assert "INCONCLUSIVE" in said
    assert proof.summary["verdict"] == "inconclusive"


def test_a_status_pointer_to_nothing_is_said_at_once(proof: Proof) -> None:
    value = stack_value()
    value["workload"]["poll"]["status"] = "/state"
    assert proof.run(["--stack", str(write_value(proof.folder, value))]) == 2
    assert "the answer has nothing at /state" in proof.summary["error"]


def test_a_word_that_is_never_final_is_named(proof: Proof) -> None:
    value = stack_value()
    value["workload"]["poll"]["completed"] = ["done"]
    assert proof.run(["--stack", str(write_value(proof.folder, value)), "--jobs", "1"]) == 2
    assert "last answer: status 'completed'" in proof.summary["error"]


def test_a_digest_pointer_to_nothing_is_named(proof: Proof) -> None:
    value = stack_value()
    value["workload"]["poll"]["digest"] = "/result/hash"
    assert proof.run(["--stack", str(write_value(proof.folder, value))]) == 3
    assert "no digest at /result/hash" in proof.summary["error"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_stops_everything_and_seals_an_interrupted_run(proof: Proof) -> None:
    stack = load_stack(write_stack(proof.folder, jobs="stuck"), {})
    process = run_script(proof.folder, "--stack", str(stack.file))
    assert process.stdout
    while "[3/6]" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=20)
    assert process.returncode == Exit.INTERRUPTED, errors
    assert "INCONCLUSIVE" in said
    assert proof.summary["interrupted"] is True
    assert proof.summary["verdict"] == "inconclusive"
    assert all(map(port_is_free, local_ports(stack.services).values()))
    assert not [*(proof.folder / "cache" / "state").iterdir()]


def test_the_script_runs_from_any_folder_and_prints_commands_that_work(proof: Proof) -> None:
    """Issue 2: run literally, the two printed commands succeed."""
    stack = write_stack(proof.folder)
    process = run_script(proof.folder, "--stack", str(stack), "--jobs", "3")
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    commands = [line.strip() for line in said.splitlines() if "sha256_manifest.txt" in line]
    assert len(commands) == 2
    if os.name != "nt":
        for command in commands:
            done = subprocess.run(
                ["bash", "-c", command], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr


def test_leftovers_of_a_killed_run_are_removed_by_the_next(proof: Proof) -> None:
    record = records.new_record(proof.folder / "stack.yaml")
    record.harness_birth = "another process once"
    record.save()
    assert proof() == 0
    assert not record.path.exists()
    assert not Path(record.state).exists()


def test_a_golden_stack_value_stays_valid(proof: Proof) -> None:
    """The fake system itself is a valid stack file, so that the faults are what is tested."""
    assert load_stack(write_value(proof.folder, stack_value()), {}).name == "fake"
