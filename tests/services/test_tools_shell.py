"""The shell tool: listed programs with listed arguments, within limits, and nothing else (G3c)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from services.executor.tools import sandbox, shell
from services.executor.tools.policy import POLICY_FILE, DeniedError, Policy, parse
from services.executor.tools.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX programs")


@pytest.fixture
def policy() -> Policy:
    return parse(POLICY_FILE.read_bytes())


@pytest.fixture(params=["launched", "started directly"])
def box(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox, for programs started with limits and as on systems that have none."""
    if request.param == "launched" and not sandbox.HAS_OPENAT:
        pytest.skip("this system has no openat")
    monkeypatch.setattr(sandbox, "HAS_OPENAT", request.param == "launched")
    made = Sandbox(tmp_path / "sandbox")
    made.write("inside.txt", b"inside\n")
    made.write("folder/deep.txt", b"deep\n")
    return made


@posix
@pytest.mark.parametrize(
    ("argv", "output"),
    [
        (["echo", "proof"], "proof\n"),
        (["echo"], "\n"),
        (["echo", "two words", "a=b"], "two words a=b\n"),
        (["cat", "inside.txt"], "inside\n"),
        (["cat", "folder/deep.txt"], "deep\n"),
        (["ls"], "folder\ninside.txt\n"),
        (["ls", "folder"], "deep.txt\n"),
        (["uname", "-s"], os.uname().sysname + "\n" if os.name == "posix" else ""),
    ],
)
def test_listed_commands_run(box: Sandbox, policy: Policy, argv: list[str], output: str) -> None:
    assert policy.shell is not None
    result = shell.run(policy.shell, box, argv)
    assert (result.outcome, result.output, result.exit_code) == ("completed", output, 0)


@pytest.mark.parametrize(
    "argv",
    [
        ["rm", "-rf", "/"], ["/bin/echo", "x"], ["./echo", "x"], ["ECHO", "x"], ["echo\0", "x"],
        ["", "x"], ["sh", "-c", "id"], ["bash"], ["env"], ["python3"], ["sudo", "echo"],
        ["busybox"],
        ["echo", "$(id)"], ["echo", "`id`"], ["echo", "${PATH}"], ["echo", "a\nb"], ["echo", "-e"],
        ["echo", "a\0b"], ["echo", "|", "sh"], ["echo", "a&b"], ["echo", "> x"], ["echo", "é"],
        ["echo", "\ud800"], ["echo", "a" * 201], ["echo", *["a"] * 17], ["echo", "a\\b"],
        ["date"], ["date", "-s", "now"], ["date", "-u", "-s"], ["date", "-f", "/etc/passwd"],
        ["uname", "-a"], ["uname"], ["ls", "-la"], ["ls", ".."], ["ls", "/"], ["ls", ".", ".."],
        ["cat"], ["cat", "/etc/passwd"], ["cat", "../secret.txt"], ["cat", "-"], ["cat", "."],
        ["cat", "inside.txt", "inside.txt"], ["cat", "/proc/self/environ"], ["cat", "/dev/zero"],
    ],
)  # fmt: skip
def test_everything_else_is_denied(box: Sandbox, policy: Policy, argv: list[str]) -> None:
    assert policy.shell is not None
    with pytest.raises(DeniedError):
        shell.run(policy.shell, box, argv)


def _allow(policy: Policy, program: str, folder: Path, **limits: object) -> Policy:
    """The shipped policy with one more program, in a folder of its own."""
    value = policy.model_dump(exclude_none=True)
    value["shell"] |= {"path": {"posix": [str(folder)], "windows": [str(folder)]}, **limits}
    value["shell"]["commands"] = [{"program": program, "forms": [{"exactly": []}]}]
    return Policy.model_validate(value)


def _program(folder: Path, text: str) -> None:
    path = folder / "probe"
    path.write_text(f"#!{sys.executable} -IS\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@posix
def test_a_program_sees_an_empty_environment_and_limits(
    box: Sandbox, policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIENT_TOKEN", "a-secret-of-the-executor")
    monkeypatch.setenv("LD_PRELOAD", "")
    _program(
        tmp_path,
        "import os, resource\n"
        "environ = {k: v for k, v in os.environ.items() if k != 'LC_CTYPE'}\n"  # set by Python
        "kinds = (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)\n"
        "limits = [resource.getrlimit(kind)[1] for kind in kinds]\n"
        "print(environ, limits, os.getpid() == os.getsid(0), sorted(os.listdir('.')),\n"
        "      len(os.listdir('/proc/self/fd')) if os.path.isdir('/proc/self/fd') else 4)",
    )
    shell_policy = _allow(policy, "probe", tmp_path).shell
    assert shell_policy is not None
    result = shell.run(shell_policy, box, ["probe"])
    if sandbox.HAS_OPENAT:
        assert result.output == "{} [0, 0] True ['folder', 'inside.txt'] 4\n"


@posix
def test_a_program_that_hangs_is_stopped_with_all_its_children(
    box: Sandbox, policy: Policy, tmp_path: Path
) -> None:
    _program(
        tmp_path,
        "import os, time\nchild = os.fork()\nif child: print(child, flush=True)\ntime.sleep(60)",
    )
    value = _allow(policy, "probe", tmp_path, time_out_seconds=1.5).shell
    assert value is not None
    result = shell.run(value, box, ["probe"])
    assert (result.outcome, result.exit_code) == ("timed_out", None)
    if result.output.strip().isdigit():  # under RLIMIT_NPROC (not for root) it can't even fork
        assert _ended(int(result.output))


def _ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@posix
def test_endless_output_is_cut(box: Sandbox, policy: Policy, tmp_path: Path) -> None:
    _program(tmp_path, "while True: print('x' * 1000)")
    value = _allow(policy, "probe", tmp_path, output_limit_bytes=5000).shell
    assert value is not None
    result = shell.run(value, box, ["probe"])
    assert (result.outcome, len(result.output), result.truncated) == ("failed", 5000, True)


@posix
def test_a_program_that_fails_is_failed(box: Sandbox, policy: Policy, tmp_path: Path) -> None:
    _program(tmp_path, "import sys\nsys.exit(3)")
    value = _allow(policy, "probe", tmp_path).shell
    assert value is not None
    assert shell.run(value, box, ["probe"]).exit_code == 3
    assert shell.run(value, box, ["probe"]).outcome == "failed"


def test_a_program_that_is_not_installed_is_denied_clearly(
    box: Sandbox, policy: Policy, tmp_path: Path
) -> None:
    value = _allow(policy, "missing", tmp_path).shell
    assert value is not None
    with pytest.raises(DeniedError, match="this system has no program 'missing'"):
        shell.run(value, box, ["missing"])
