"""stack.process: services start in order, are ours, stop, and nothing is left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from fakes.system import edit_service, stack_value, write_stack, write_value

from common.cli import ConfigurationError, ScriptError
from stack import records
from stack.load import load_stack
from stack.ports import local_ports, port_is_free
from stack.process import ProcessRuntime, create

if TYPE_CHECKING:
    from collections.abc import Iterator

# Only a kernel that hands orphans to us can show a process with an empty environment.
HIDDEN = ["hidden"] if sys.platform == "linux" else []
SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


class Opened:
    """Makes runtimes and closes them after the test."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, list[ProcessRuntime]()

    def __call__(self, **faults: str) -> ProcessRuntime:
        runtime = create(load_stack(write_stack(self.folder, **faults), {}), {})
        self.made.append(runtime)
        return runtime


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    opener = Opened(tmp_path)
    yield opener
    for runtime in opener.made:
        runtime.stop()
        runtime.close()


def ports_of(runtime: ProcessRuntime) -> list[int]:
    return [*local_ports(runtime.services).values()]


def nothing_left(runtime: ProcessRuntime) -> bool:
    return all(map(port_is_free, ports_of(runtime))) and not records.marked_processes(
        runtime.record.marker
    )


def test_a_service_starts_after_what_it_needs(opened: Opened) -> None:
    runtime = opened()
    started = {item.name: item for item in runtime.start()}
    assert all(item.healthy for item in started.values())
    assert (started["jobs"].ready_seconds or 9) < (started["front"].ready_seconds or 0)


def test_a_stop_leaves_nothing(opened: Opened) -> None:
    runtime = opened()
    runtime.start()
    assert list(runtime.stop()) == []
    assert nothing_left(runtime)
    runtime.close()
    assert not runtime.state.exists()
    assert not runtime.record.path.exists()


@pytest.mark.parametrize("name", ["jobs", "front"])
def test_a_service_that_ends_is_named_with_its_last_words(opened: Opened, name: str) -> None:
    runtime = opened(**{name: "exit"})
    with pytest.raises(ScriptError, match=f"{name} ended with exit code 3.*database is locked"):
        runtime.start()
    assert nothing_left(runtime)


def test_a_service_that_never_gets_healthy_is_named(opened: Opened) -> None:
    runtime = opened(jobs="slow_health")
    with pytest.raises(
        ScriptError, match="jobs was not ready within 5 s: /healthz gave status 503"
    ):
        runtime.start()
    assert nothing_left(runtime)


def test_a_service_that_ignores_sigterm_is_killed_and_reported(opened: Opened) -> None:
    runtime = opened(jobs="ignore_sigterm")
    runtime.start()
    (finding,) = runtime.stop()
    assert "jobs did not stop within its grace" in finding
    assert nothing_left(runtime)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX sessions")
@pytest.mark.parametrize("fault", ["orphan", "double_fork", *HIDDEN])
def test_a_process_that_a_service_leaves_is_found_and_ended(opened: Opened, fault: str) -> None:
    runtime = opened(jobs=fault)
    runtime.start()
    findings = [*runtime.stop()]
    assert len(findings) == 1
    assert "left" in findings[0]
    assert nothing_left(runtime)


def test_a_helper_that_ended_by_itself_is_no_left_over(opened: Opened) -> None:
    runtime = opened(jobs="helper")
    runtime.start()
    time.sleep(0.4)
    assert [*runtime.stop()] == []


def test_a_program_that_is_none_of_the_systems_is_left_alone(opened: Opened) -> None:
    runtime = opened()
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"])
    try:
        runtime.start()
        assert [*runtime.stop()] == []
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_two_runtimes_in_one_program_leave_each_other_alone(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    made = []
    for folder in folders:
        folder.mkdir()
        made.append(create(load_stack(write_stack(folder), {}), {}))
    try:
        for runtime in made:
            runtime.start()
        assert [*made[0].stop()] == []
        assert not nothing_left(made[1])
        assert [*made[1].stop()] == []
    finally:
        for runtime in made:
            runtime.stop()
            runtime.close()


def test_a_taken_port_is_named_with_its_owner_and_nothing_starts(opened: Opened) -> None:
    runtime = opened()
    port = local_ports(runtime.services)["jobs"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(
            ScriptError, match=f"port {port} of jobs is taken by pid {os.getpid()} "
        ):
            runtime.start()
    assert runtime.record.processes == {}


def test_a_listener_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """The service answers 200, but another process than the one we started listens."""
    value = stack_value()
    program = value["runtimes"]["process"]["services"]["jobs"]
    # The started process hands its port to a grandchild outside of its tree.
    command = program["command"]
    edit_service(value, "jobs", [sys.executable, "-c", _HAND_OVER, *command[1:]])
    runtime = create(load_stack(write_value(tmp_path, value), {}), {})
    try:
        with pytest.raises(ScriptError, match=r"expected jobs .* to listen on port"):
            runtime.start()
        assert nothing_left(runtime)
    finally:
        runtime.stop()
        runtime.close()


_HAND_OVER = """
import os, subprocess, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    os._exit(0)
os.wait()
time.sleep(60)
"""


def test_a_killed_service_restarts(opened: Opened) -> None:
    runtime = opened()
    before = {item.name: item.pid for item in runtime.start()}
    with pytest.raises(ScriptError, match="still runs"):
        runtime.restart("jobs")
    runtime.kill("jobs")
    after = runtime.restart("jobs")
    assert after.healthy
    assert after.pid != before["jobs"]


def test_a_missing_program_is_one_line(tmp_path: Path) -> None:
    value = edit_service(stack_value(), "jobs", ["/no/such/program"])
    runtime = create(load_stack(write_value(tmp_path, value), {}), {})
    try:
        with pytest.raises(
            ScriptError, match="can't start jobs with /no/such/program: No such file"
        ):
            runtime.start()
    finally:
        runtime.close()


def test_a_failing_prepare_command_is_one_line_with_its_last_output(tmp_path: Path) -> None:
    value = stack_value()
    program = "print('first'); print('the schema is newer'); raise SystemExit(9)"
    value["runtimes"]["process"]["prepare"] = [["{python}", "-c", program]]
    runtime = create(load_stack(write_value(tmp_path, value), {}), {})
    try:
        with pytest.raises(ScriptError, match="exited 9: the schema is newer"):
            runtime.prepare()
    finally:
        runtime.close()


def test_services_see_only_the_environment_that_the_stack_file_gives(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-leak")
    runtime = opened()
    for item in runtime.start():
        assert "AWS_SECRET_ACCESS_KEY" not in psutil.Process(item.pid).environ()


def test_a_secret_from_the_environment_must_be_as_long_as_validate_config_asks(
    tmp_path: Path,
) -> None:
    """Requirement K1: both say 32, so that what one accepts the other does not refuse."""
    stack = load_stack(write_stack(tmp_path), {})
    with pytest.raises(
        ConfigurationError, match="FAKE_KEY: expected at least 32 characters, got 31"
    ):
        create(stack, {"FAKE_KEY": "q" * 31})
    assert records.sweep() == []
    assert not [*(tmp_path / "cache" / "state").glob("*")]


def runs(pid: int) -> bool:
    """A zombie that PID 1 has yet to reap runs no more."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


_HARNESS = """
import sys, time
from pathlib import Path
from stack.load import load_stack
from stack.process import create
runtime = create(load_stack(Path(sys.argv[1]), {}), {})
started = runtime.start()
print(*[item.pid for item in started], flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("fault", ["", "double_fork"])
def test_after_kill_9_of_the_harness_a_sweep_leaves_nothing(tmp_path: Path, fault: str) -> None:
    stack = load_stack(write_stack(tmp_path, jobs=fault), {})
    harness = subprocess.Popen(
        [sys.executable, "-c", _HARNESS, str(stack.file)],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert harness.stdout
    pids = [int(pid) for pid in harness.stdout.readline().split()]
    harness.send_signal(signal.SIGKILL)
    harness.wait()
    records.sweep()
    assert not any(map(runs, pids))
    assert not [*(tmp_path / "cache" / "state").iterdir()]
    assert not [*(tmp_path / "cache" / "runs").iterdir()]
    assert all(map(port_is_free, local_ports(stack.services).values()))


def test_a_sweep_leaves_a_live_run_alone(opened: Opened) -> None:
    runtime = opened()
    runtime.start()
    assert records.sweep() == []
    assert runtime.state.is_dir()
    assert not nothing_left(runtime)


def test_a_record_of_a_reused_pid_kills_nobody(tmp_path: Path) -> None:
    record = records.new_record(tmp_path / "stack.yaml")
    record.harness_birth = "another process once"
    record.processes["jobs"] = (os.getpid(), "another process once")
    record.save()
    swept = records.sweep()
    assert swept[0] == f"removed the state folder of run {record.marker}"
    assert swept[1:] in ([], [f"removed the secrets of run {record.marker}"])
    assert psutil.pid_exists(os.getpid())


def test_a_torn_record_is_removed(tmp_path: Path) -> None:
    record = records.new_record(tmp_path / "stack.yaml")
    record.path.write_text('{"marker": ')
    records.sweep()
    assert not record.path.exists()


def test_a_service_can_be_started_with_another_command_and_again_with_its_own(
    opened: Opened,
) -> None:
    runtime = opened()
    runtime.start()
    own = runtime.programs.launch("jobs").command
    other = [*own[:2], "other", *own[3:]]
    runtime.programs.use_commands({"jobs": other})
    assert runtime.programs.launch("jobs").command == other
    assert runtime.programs.launch("front").command != other
    runtime.kill("jobs")
    runtime.restart("jobs")
    runtime.programs.use_commands({})
    assert runtime.programs.launch("jobs").command == own


def test_a_place_is_a_path_of_this_run(opened: Opened) -> None:
    runtime = opened()
    assert runtime.place("{state}/a") == str(runtime.state / "a")
    assert runtime.place("{here}") == str(runtime.stack.here)
