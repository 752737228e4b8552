"""The shell tool: listed programs with listed arguments, within limits, and nothing else (G3c)."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from services.executor.policy.data import PolicyData, ShellLimits, parse
from services.executor.policy.denied import DeniedError
from services.executor.policy.install import SHIPPED
from services.executor.policy.store import Loaded, compile_policy
from services.executor.policy.versions import read_version
from services.executor.tools import sandbox, selfcheck, shell
from services.executor.tools.profile import SYSTEM_FILES, Profile
from services.executor.tools.sandbox import Sandbox

if TYPE_CHECKING:
    from pathlib import Path

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX programs")


@pytest.fixture(scope="module")
def policy() -> Loaded:
    return compile_policy(read_version(SHIPPED))


@pytest.fixture
def data() -> PolicyData:
    return parse((SHIPPED / "tools.yaml").read_bytes())


@pytest.fixture(params=["launched", "started directly"])
def box(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox, for programs started with all layers and as on systems that have none."""
    if request.param == "launched" and not sandbox.HAS_OPENAT:
        pytest.skip("this system has no openat")
    monkeypatch.setattr(sandbox, "HAS_OPENAT", request.param == "launched")
    made = Sandbox(tmp_path / "sandbox")
    made.write("inside.txt", b"inside\n")
    made.write("folder/deep.txt", b"deep\n")
    return made


def act(policy: Loaded, box: Sandbox, argv: list[str]) -> shell.ShellResult:
    """What the route does: the policy's word first, then the program in every layer."""
    decision = policy.rego.decide({"caller": "gateway", "tool": "shell", "argv": argv})
    if not decision.allow:
        raise DeniedError(decision.reason, "denied")
    profile = Profile(selfcheck.try_layers().active, policy.data.limits.shell)
    return shell.run(profile, box, argv, decision.use)


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
def test_listed_commands_run(box: Sandbox, policy: Loaded, argv: list[str], output: str) -> None:
    result = act(policy, box, argv)
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
def test_everything_else_is_denied(box: Sandbox, policy: Loaded, argv: list[str]) -> None:
    with pytest.raises(DeniedError):
        act(policy, box, argv)


def _profile(data: PolicyData, folder: Path, **limits: object) -> Profile:
    """All layers and the shipped limits, for a program in a folder of its own."""
    search = {"posix": [str(folder)], "windows": [str(folder)]}
    value = data.limits.shell.model_dump() | {"path": search} | limits
    readable = (*SYSTEM_FILES, *selfcheck.python_files())
    return Profile(selfcheck.try_layers().active, ShellLimits.model_validate(value), readable)


def _probe(profile: Profile, box: Sandbox) -> shell.ShellResult:
    return shell.run(profile, box, ["probe"], "arguments")


def _program(folder: Path, text: str) -> None:
    path = folder / "probe"
    path.write_text(f"#!{sys.executable} -IS\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


@posix
def test_a_program_sees_an_empty_environment_and_limits(
    box: Sandbox, data: PolicyData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLIENT_TOKEN", "a-secret-of-the-executor")
    monkeypatch.setenv("LD_PRELOAD", "")
    _program(
        tmp_path,
        "import os, resource\n"
        "def is_open(fd):\n"
        "    try: return bool(os.fstat(fd))\n"
        "    except OSError: return False\n"
        "environ = {k: v for k, v in os.environ.items() if k != 'LC_CTYPE'}\n"  # set by Python
        "kinds = (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)\n"
        "limits = [resource.getrlimit(kind)[1] for kind in kinds]\n"
        "print(environ, limits, os.getpid() == os.getsid(0), sorted(os.listdir('.')),\n"
        "      sum(map(is_open, range(32))))",
    )
    profile = _profile(data, tmp_path)
    result = _probe(profile, box)
    if sandbox.HAS_OPENAT:
        assert result.output == "{} [0, 0] True ['folder', 'inside.txt'] 3\n"


@posix
def test_a_program_that_hangs_is_stopped_with_all_its_children(
    box: Sandbox, data: PolicyData, tmp_path: Path
) -> None:
    _program(
        tmp_path,
        "import os, time\nchild = os.fork()\nif child: print(child, flush=True)\ntime.sleep(60)",
    )
    may_fork = replace(_profile(data, tmp_path, time_out_seconds=1.5), layers=frozenset())
    result = _probe(may_fork, box)
    assert (result.outcome, result.exit_code) == ("timed_out", None)
    assert _ended(int(result.output))


def _ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@posix
def test_endless_output_is_cut(box: Sandbox, data: PolicyData, tmp_path: Path) -> None:
    _program(tmp_path, "while True: print('x' * 1000)")
    profile = _profile(data, tmp_path, output_limit_bytes=5000)
    result = _probe(profile, box)
    assert (result.outcome, len(result.output), result.truncated) == ("failed", 5000, True)


@posix
def test_a_program_that_fails_is_failed(box: Sandbox, data: PolicyData, tmp_path: Path) -> None:
    _program(tmp_path, "import sys\nsys.exit(3)")
    profile = _profile(data, tmp_path)
    assert _probe(profile, box).exit_code == 3
    assert _probe(profile, box).outcome == "failed"


def test_a_program_that_is_not_installed_is_denied_clearly(
    box: Sandbox, data: PolicyData, tmp_path: Path
) -> None:
    profile = _profile(data, tmp_path)
    with pytest.raises(DeniedError, match="program_not_installed"):
        shell.run(profile, box, ["missing"], "arguments")
