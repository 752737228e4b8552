"""run_soak.py on a small fake system: faults by name, kill -9, --resume."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import run_soak
from fakes.soak_system import soak_value, write_soak_stack
from fakes.system import write_value

from common.cli import ConfigurationError, Exit, ScriptError, UsageError
from common.schema import check_value
from detectors.finding import Finding
from evidence.public_key import load_public_key
from evidence.recorder import Recorder
from evidence.verify import verify_bundle
from gating.commands import script_command
from soak import measuring, session
from soak.hard_stop import find_py_spy
from soak.judges import Judges
from soak.minute_writer import MinuteWriter
from traffic.locust_wire import TOKEN_VARIABLE
from traffic.pieces import read_pieces
from traffic.sample import Outcome

if TYPE_CHECKING:
    from types import ModuleType

SCRIPT = Path(run_soak.__file__)


def soak(folder: Path, *arguments: str, fault: str = "", **rates: float) -> tuple[int, Path]:
    """Soak a fake system; the exit code and the bundle."""
    stack = folder / "stack.yaml"
    if not stack.exists():
        write_soak_stack(folder, fault, 1.0, **rates)
    output = folder / "out"
    known = {*output.glob("2*")}
    code = run_soak.main(
        ["--stack", str(stack), "--output-dir", str(output), "--no-live", *arguments]
    )
    (bundle,) = {*output.glob("2*")} - known
    return code, bundle


def summary_of(bundle: Path) -> dict[str, Any]:
    (path,) = (bundle / "evidence").glob("gate2-summary-*.json")
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def soaked(bundle: Path) -> dict[str, Any]:
    value: dict[str, Any] = summary_of(bundle)["measured"]["soak"]
    return value


def failed_detectors(bundle: Path) -> set[str]:
    return {row["detector"] for row in soaked(bundle)["findings"] if row["outcome"] == "failed"}


def resumable(folder: Path) -> list[str]:
    return [path.name for path in (folder / "out" / "soaks").glob("*")]


def test_a_system_without_a_fault_passes_and_cant_count(tmp_path: Path) -> None:
    code, bundle = soak(tmp_path, "--duration", "4s")
    assert code == Exit.PASSED
    summary, found = summary_of(bundle), soaked(bundle)
    check_value(found, "soak", "soak")
    assert summary["eligible"]["value"] is False
    assert "shortened: 4 s, expected 48 h" in summary["eligible"]["reasons"]
    assert found["requests"]["planned"] == found["requests"]["ok"] == 4 * (5 + 20 + 3)
    assert found["unbroken_seconds"] >= 4
    assert found["gaps"] == []
    assert found["detectors"]["failed"] == 0
    assert set(summary["latency"]) == {"chat", "action", "session"}
    assert found["profiles"]["chat"]["first_token"]["count"] == 20


def test_the_evidence_holds_every_sample_and_minute(tmp_path: Path) -> None:
    _, bundle = soak(tmp_path, "--duration", "3s")
    files = bundle / "evidence" / "soak"
    (piece,) = read_pieces(files)
    assert len(piece) == soaked(bundle)["requests"]["ended"]
    (minute,) = (files / "minutes").iterdir()
    value = json.loads(minute.read_text())
    check_value(value, "soak_minute", "minute")
    assert value["partial"] is True
    assert value["services"]["front"]["memory_bytes"] > 0
    run_soak.main(["--stack", str(tmp_path / "stack.yaml"), "--duration", "1s", "--no-live",
                   "--output-dir", str(tmp_path / "out")])  # fmt: skip
    assert [name for name in resumable(tmp_path) if name == bundle.name] == []


def test_the_report_shows_curves_and_findings(tmp_path: Path) -> None:
    _, bundle = soak(tmp_path, "--duration", "2s")
    page = (bundle / "evidence" / "report.html").read_text()
    assert "Over time: soak" in page
    assert re.search(r"Latency of chat over \d+ seconds", page)  # more, on a busy machine
    assert "expected no restart, got the same identity" in page


def test_the_bundle_verifies(tmp_path: Path) -> None:
    _, bundle = soak(tmp_path, "--duration", "1s")
    key = tmp_path / "config" / "signing-key.pub"
    assert key.is_file()
    assert verify_bundle(bundle, load_public_key(key)).refusals == []


@pytest.mark.parametrize("fault", ["thread_deadlock", "async_deadlock"])
def test_a_deadlock_is_found_though_health_says_200(tmp_path: Path, fault: str) -> None:
    code, bundle = soak(tmp_path, "--duration", "30s", fault=fault, session=0)
    assert code == Exit.FAILED
    found = soaked(bundle)
    assert "deadlock" in failed_detectors(bundle)
    assert found["hard_stop"]["why"].startswith("deadlock: front/action")
    assert found["observed_seconds"] < 20
    stop = bundle / "evidence" / "soak" / "hard_stop"
    requests = json.loads((stop / "requests.json").read_text())
    assert {row["profile"] for row in requests["in_flight"]} >= {"action"}
    if find_py_spy() and not found["hard_stop"]["not_had"]:
        assert "soak_service.py" in (stop / "front_stacks.txt").read_text()


def test_a_stuck_session_is_found_by_number(tmp_path: Path) -> None:
    value = soak_value("stuck_session", 1.0, action=0, session=2)
    for profile in value["traffic"]:
        profile["timeout_seconds"] = 1
    write_value(tmp_path, value)
    # 48 hours are planned, so that the errors alone can't stop it.
    code, bundle = soak(tmp_path)
    assert code == Exit.FAILED
    assert "stuck_session" in failed_detectors(bundle)
    assert (
        "stuck_session: front/session: expected no stuck session, got"
        in (soaked(bundle)["hard_stop"]["why"])
    )
    assert soaked(bundle)["unbroken_seconds"] is None


def test_a_service_that_ended_is_a_restart(tmp_path: Path) -> None:
    code, bundle = soak(tmp_path, "--duration", "30s", fault="crash")
    assert code == Exit.FAILED
    assert "restart" in failed_detectors(bundle)
    stop = bundle / "evidence" / "soak" / "hard_stop"
    assert "planted: the service ends" in (stop / "front_log.txt").read_text()


def test_errors_beyond_what_the_whole_run_may_have_stop_it(tmp_path: Path) -> None:
    code, bundle = soak(tmp_path, "--duration", "30s", fault="burst")
    assert code == Exit.FAILED
    assert "errors" in failed_detectors(bundle)
    assert soaked(bundle)["requests"]["wrong"] > 0
    texts = (bundle / "evidence" / "soak" / "errors-0001.jsonl").read_text()
    assert "500" in texts


def test_an_answer_that_never_ends_is_found(tmp_path: Path) -> None:
    code, bundle = soak(tmp_path, "--duration", "30s", fault="drip")
    assert code == Exit.FAILED
    assert {"deadlock", "hang", "timeouts"} & failed_detectors(bundle)


def test_a_stall_is_in_the_percentiles(tmp_path: Path) -> None:
    """Two seconds without an answer in eight: a quarter of the requests waited a second."""
    value = soak_value("stall", 2.0, action=40, chat=0, session=0)
    for profile in value["traffic"]:
        profile["timeout_seconds"] = 10
    write_value(tmp_path, value)
    code, bundle = soak(tmp_path, "--duration", "8s")
    assert code == Exit.PASSED
    latency = soaked(bundle)["latency"]
    assert latency["p99_ms"] > 1500
    assert latency["p95_ms"] > 1000
    assert latency["p50_ms"] < latency["p95_ms"]  # most of them waited for nothing


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Soak in another process, to be killed."""
    command = [sys.executable, str(SCRIPT), "--stack", str(folder / "stack.yaml")]
    command += ["--output-dir", str(folder / "out"), "--no-live", *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for_samples(folder: Path, least_bytes: int) -> Path:
    """The folder of a soak that has acknowledged something."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for path in (folder / "out" / "soaks").glob("*/samples-*.bin"):
            if path.stat().st_size >= least_bytes:
                return path.parent
        time.sleep(0.05)
    raise AssertionError("no samples within a minute")


def test_a_killed_soak_goes_on_and_says_what_was_not_observed(tmp_path: Path) -> None:
    write_soak_stack(tmp_path, action=40)
    chance = random.Random(20261121)  # noqa: S311 - the same moments in every run
    kept: dict[str, int] = {}
    for piece in range(1, 4):
        resume = ["--resume", *resumable(tmp_path)] if piece > 1 else []
        process = start(tmp_path, "--duration", "9s", *resume)
        folder = wait_for_samples(tmp_path, 2000)
        end = time.monotonic() + 60
        name = f"samples-{piece:04}.bin"
        while time.monotonic() < end and not (folder / name).exists():
            time.sleep(0.02)
        time.sleep(chance.uniform(0.2, 1.5))
        process.kill()
        process.communicate()
        # What is on the disk now was acknowledged: it has to be in the evidence.
        kept[name] = len(read_pieces(folder)[piece - 1])
    code, bundle = soak(tmp_path, "--duration", "9s", "--resume", folder.name)
    pieces = read_pieces(bundle / "evidence" / "soak")
    assert len(pieces) == 4
    for name, count in kept.items():
        assert len(pieces[int(name[8:12]) - 1]) == count
    found = soaked(bundle)
    assert code == Exit.INCONCLUSIVE
    assert [gap["kind"] for gap in found["gaps"]] == ["restarted"] * 3
    assert [piece["ended"] for piece in found["pieces"]] == ["killed"] * 3 + ["completed"]
    longest = max(row["end_seconds"] - row["begin_seconds"] for row in found["pieces"])
    # The wait for the last answers is observed, and no part of the span.
    assert longest - 2 < found["longest_span_seconds"] <= longest
    assert found["observed_seconds"] >= 9
    assert found["unbroken_seconds"] is None
    assert found["requests"]["error"] == 0
    assert sum(map(len, pieces)) == found["requests"]["ended"] + found["requests"]["unfinished"]


def test_a_system_that_lives_on_makes_an_unobserved_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    value = soak_value()
    write_value(tmp_path, value)
    port = value["services"][0]["url"].rpartition(":")[2]
    program = value["runtimes"]["process"]["services"]["front"]["command"][1]
    monkeypatch.setenv("SOAKED_URL", value["services"][0]["url"])
    monkeypatch.setenv("FAKE_KEY", "key-of-the-fake-system-in-32-characters")
    with subprocess.Popen([sys.executable, program, port], stdout=subprocess.PIPE) as system:
        try:
            assert system.stdout is not None
            system.stdout.readline()
            process = start(tmp_path, "--duration", "4s")
            folder = wait_for_samples(tmp_path, 2000)
            process.kill()
            process.communicate()
            code, bundle = soak(tmp_path, "--duration", "4s", "--resume", folder.name)
        finally:
            system.kill()
    (gap,) = soaked(bundle)["gaps"]
    assert (code, gap["kind"]) == (Exit.INCONCLUSIVE, "unobserved")
    assert "the same services ran on" in gap["why"]
    (last,) = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("INCONCLUSIVE")
    ]
    gone = f"{gap['end_seconds'] - gap['begin_seconds']:.0f} s"
    assert f"(not observed for {gone}, from 0:00:" in last
    assert "can no longer reach 0:00:04; a broken span can't pass: start a new soak)" in last


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_seals_what_was_measured_and_says_how_to_go_on(tmp_path: Path) -> None:
    write_soak_stack(tmp_path)
    process = start(tmp_path, "--duration", "600s")
    folder = wait_for_samples(tmp_path, 1000)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED
    stack, out = tmp_path / "stack.yaml", tmp_path / "out"
    given = f"--stack {stack} --output-dir {out} --no-live --duration 600s"
    this = script_command("run_soak")
    assert f"go on with: {this} {given} --resume {folder.name}\n" in output
    assert "that completes the measurement, but can't pass any more: at most 0:09:5" in output
    (bundle,) = (tmp_path / "out").glob("2*")
    found = soaked(bundle)
    assert summary_of(bundle)["verdict"] == "inconclusive"
    assert found["pieces"][0]["ended"] == "interrupted"
    assert found["requests"]["errors"] == 0
    assert found["requests"]["sent_ratio"] == pytest.approx(1, abs=0.1)
    assert resumable(tmp_path) == [folder.name]
    names = {Outcome(value).name for piece in read_pieces(folder) for value in piece.outcome}
    assert names <= {"OK", "UNFINISHED"}


def _no_room(*_arguments: object, **_options: object) -> None:
    raise ScriptError("no room: free some")


def test_what_breaks_after_a_failure_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure was seen first: a disk that is full after it makes it no open question."""
    write_soak_stack(tmp_path)
    found = Finding("restart", "front", "failed", "planted", 1.0, {})
    monkeypatch.setattr(Judges, "each_second", lambda _self, _now: [found])
    monkeypatch.setattr(session, "MINUTE_SECONDS", 0.1)
    monkeypatch.setattr(MinuteWriter, "write", _no_room)
    code, bundle = soak(tmp_path, "--duration", "5s")
    assert (code, summary_of(bundle)["verdict"]) == (Exit.FAILED, "failed")
    assert "planted" in summary_of(bundle)["error"]


def test_trouble_with_the_figures_is_our_own_and_keeps_the_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_soak_stack(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(measuring, "summarise", _no_room)
        code, bundle = soak(tmp_path, "--duration", "3s")
    assert (code, summary_of(bundle)["verdict"]) == (Exit.INCONCLUSIVE, "inconclusive")
    (run_id,) = resumable(tmp_path)
    assert sum(map(len, read_pieces(tmp_path / "out" / "soaks" / run_id)))


def test_a_command_of_the_systems_own_that_fails_is_its_fault(tmp_path: Path) -> None:
    """Its migrations, say: a gate that is inconclusive for that could be tried for ever."""
    value = soak_value()
    value["runtimes"]["process"]["prepare"] = [["{python}", "-c", "raise SystemExit(1)"]]
    write_value(tmp_path, value)
    code, bundle = soak(tmp_path, "--duration", "3s")
    assert (code, summary_of(bundle)["verdict"]) == (Exit.FAILED, "failed")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_harness_that_stood_still_blames_nobody(tmp_path: Path) -> None:
    write_soak_stack(tmp_path)
    process = start(tmp_path, "--duration", "16s")
    wait_for_samples(tmp_path, 2000)
    process.send_signal(signal.SIGSTOP)
    time.sleep(12)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    (bundle,) = (tmp_path / "out").glob("2*")
    found = soaked(bundle)
    assert process.returncode == Exit.INCONCLUSIVE
    assert [gap["kind"] for gap in found["gaps"]] == ["unobserved"]
    assert "the harness stood still" in found["gaps"][0]["why"]
    assert found["requests"]["errors"] == 0
    assert found["detectors"]["failed"] == 0
    assert found["observed_seconds"] < 8


def test_another_duration_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    write_soak_stack(tmp_path)
    process = start(tmp_path, "--duration", "600s")
    folder = wait_for_samples(tmp_path, 1000)
    process.kill()
    process.communicate()
    with pytest.raises(ConfigurationError, match="--duration: this soak was begun with 10m, you"):
        soak(tmp_path, "--duration", "20s", "--resume", folder.name)
    assert not [*(tmp_path / "out").glob("2*")]


def test_a_soak_that_is_not_there_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--resume 20260101-000000: expected an interr"):
        soak(tmp_path, "--duration", "2s", "--resume", "20260101-000000")
    assert not (tmp_path / "out").exists()


def test_a_port_in_use_is_no_failure_of_the_system(tmp_path: Path) -> None:
    """As in gate 1: nothing of the system ran, so there is nothing to find a root cause of."""
    value = soak_value()
    write_value(tmp_path, value)
    port = int(value["services"][0]["url"].rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        code, bundle = soak(tmp_path, "--duration", "2s")
    assert code == Exit.INCONCLUSIVE
    summary = summary_of(bundle)
    assert (summary["verdict"], summary["steps"][0]["outcome"]) == ("inconclusive", "inconclusive")
    assert f"port {port} of front is taken" in summary["error"]


def test_locust_without_a_token_is_refused_before_anything_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match=f"{TOKEN_VARIABLE}: expected"):
        soak(tmp_path, "--duration", "2s", "--engine", "locust")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["locust", "gevent"])
def test_without_locust_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != missing or None)
    with pytest.raises(ConfigurationError) as refused:
        soak(tmp_path, "--duration", "2s", "--engine", "locust")
    said = str(refused.value)
    assert f"the package '{missing}' is not installed" in said
    assert "`make gate2`" in said
    assert "`uv run --with locust " in said
    assert sys.executable not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("locust"), reason="needs Locust")
def test_a_masters_port_in_use_is_no_failure_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "t" * 64)
    monkeypatch.setenv("FAKE_KEY", "key-of-the-fake-system-in-32-characters")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, bundle = soak(
            tmp_path, "--duration", "2s", "--engine", "locust", "--master-port", port
        )
    assert code == Exit.INCONCLUSIVE
    steps = {step["name"]: step["outcome"] for step in summary_of(bundle)["steps"]}
    assert (steps["start services"], steps["soak"]) == ("passed", "inconclusive")
    assert resumable(tmp_path) == []


def test_our_own_trouble_is_inconclusive_and_a_failure_before_it_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trouble(*_: object) -> None:
        raise ScriptError("planted: no space")

    with monkeypatch.context() as once:
        once.setattr(MinuteWriter, "begin", trouble)
        code, bundle = soak(tmp_path, "--duration", "30s")
    assert (code, summary_of(bundle)["error"]) == (Exit.INCONCLUSIVE, "planted: no space")
    assert soaked(bundle)["pieces"][0]["ended"] == "interrupted"
    (tmp_path / "stack.yaml").unlink()
    monkeypatch.setattr(measuring, "write_evidence", trouble)
    code, bundle = soak(tmp_path, "--duration", "30s", fault="crash")
    assert code == Exit.FAILED
    assert summary_of(bundle)["error"].startswith("stopped: restart: front")


def test_the_folder_of_a_sealed_soak_is_gone_at_once(tmp_path: Path) -> None:
    soak(tmp_path, "--duration", "1s")
    assert not (tmp_path / "out" / "soaks").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_at_the_very_begin_of_the_traffic_seals_as_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = MinuteWriter.begin

    def interrupt(self: MinuteWriter, *arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        begin(self, *arguments)

    monkeypatch.setattr(MinuteWriter, "begin", interrupt)
    code, bundle = soak(tmp_path, "--duration", "30s")
    assert code == Exit.INTERRUPTED
    assert summary_of(bundle)["verdict"] == "inconclusive"
    assert soaked(bundle)["pieces"][0]["ended"] == "interrupted"
    assert resumable(tmp_path) == [bundle.name]


@pytest.mark.parametrize("where", [measuring, session])
def test_ctrl_c_before_the_soak_has_begun_seals_and_leaves_no_soak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: ModuleType
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, "Session" if where is measuring else "Watching", interrupt)
    code, bundle = soak(tmp_path, "--duration", "30s")
    assert code == Exit.INTERRUPTED
    assert summary_of(bundle)["verdict"] == "inconclusive"
    assert not (tmp_path / "out" / "soaks").exists()


def test_ctrl_c_before_anything_is_started_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "__post_init__", interrupt)
    with pytest.raises(ScriptError, match="nothing was started, and nothing is left") as ended:
        soak(tmp_path, "--duration", "30s")
    assert ended.value.code == Exit.INTERRUPTED
    assert [*(tmp_path / "out").iterdir()] == []


def test_a_stack_without_traffic_is_refused_in_one_line(tmp_path: Path) -> None:
    value = soak_value()
    del value["traffic"]
    write_value(tmp_path, value)
    with pytest.raises(ConfigurationError, match="has no traffic: there is nothing to soak"):
        soak(tmp_path, "--duration", "2s")
    assert not (tmp_path / "out").exists()


def test_a_faster_soak_sends_the_same_traffic_and_says_so(tmp_path: Path) -> None:
    code, bundle = soak(tmp_path, "--duration", "20s", "--speed", "5", action=4, chat=1, session=0)
    assert code == Exit.PASSED
    found = soaked(bundle)
    assert found["requests"]["planned"] == 20 * (4 + 1)
    assert found["asked_seconds"] == 4
    reasons = summary_of(bundle)["eligible"]["reasons"]
    assert "accelerated: 20 s of traffic 5 times as fast" in reasons


def test_a_wrong_duration_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="expected a time such as 48h"):
        run_soak.parse(["--duration", "soon"])
