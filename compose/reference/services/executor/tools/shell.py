"""The shell tool: one listed program, called with listed arguments, and no shell at all.

The program is looked up on a fixed path, gets an empty environment, the sandbox as its
folder, its own session, a time-out, and every layer that this system has (`profile.py`,
`launch.py`). It is never given a path to open: files are opened by the sandbox and handed
over as descriptors (G3c).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from services.executor.policy.denied import DeniedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.executor.policy.data import ShellLimits
    from services.executor.tools.profile import Profile
    from services.executor.tools.sandbox import Sandbox

HAS_LAUNCHER = os.name == "posix" and hasattr(os, "fchdir")
LAUNCHER = Path(__file__).with_name("launch.py")
USES = frozenset({"arguments", "file", "folder"})


@dataclass(frozen=True)
class ShellResult:
    """What a program said; standard error is part of the output."""

    outcome: Literal["completed", "failed", "timed_out"]
    output: str
    exit_code: int | None
    truncated: bool


@dataclass(frozen=True)
class _Prepared:
    """A call that the policy allows, with its files already open."""

    argv: list[str]
    folder: Path
    folder_descriptor: int | None
    standard_input: int


def run(profile: Profile, sandbox: Sandbox, argv: list[str], use: str) -> ShellResult:
    """Run one program to its end, or to the first limit that it meets.

    Args:
        profile: the layers that it runs in, and its limits.
        sandbox: where its files are.
        argv: the program's name and its arguments, as the policy allowed them.
        use: what the policy took its arguments for: "arguments", "file" or "folder".

    Raises:
        DeniedError: the sandbox refuses the path, or the program is not installed.
        NotThereError: the file or folder that it names is not in the sandbox.
    """
    if use not in USES or (use != "arguments" and len(argv) != 2):  # noqa: PLR2004 - program, path
        raise DeniedError("policy_error", "the policy gave no answer: tell the operator")
    limits = profile.limits
    program = find_program(limits, argv[0])
    with contextlib.ExitStack() as stack:
        arguments, target, standard_input = argv[1:], ".", subprocess.DEVNULL
        if use == "file":
            standard_input = stack.enter_context(sandbox.open_file(argv[1]))
            arguments = []
        elif use == "folder":
            arguments, target = [], argv[1]
        folder, descriptor = stack.enter_context(sandbox.open_folder(target))
        prepared = _Prepared([program, *arguments], folder, descriptor, standard_input)
        with _started(prepared, profile) as process:
            return _collect(process, limits)


def run_program(profile: Profile, sandbox: Sandbox, argv: list[str]) -> ShellResult:
    """Run a program by its full path in the sandbox's folder; nothing of a caller's comes here."""
    with sandbox.open_folder(".") as (folder, descriptor):
        prepared = _Prepared(argv, folder, descriptor, subprocess.DEVNULL)
        with _started(prepared, profile) as process:
            return _collect(process, profile.limits)


def find_program(limits: ShellLimits, name: str) -> str:
    """The program's full path on the fixed search path.

    Raises:
        DeniedError: this system has no such program there; nothing stands in for it.
    """
    folders = limits.path.windows if os.name == "nt" else limits.path.posix
    suffix = ".exe" if os.name == "nt" else ""
    for folder in folders:
        candidate = Path(folder) / f"{name}{suffix}"
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    raise DeniedError("program_not_installed", "this system has no such program on the fixed path")


@contextlib.contextmanager
def _started(prepared: _Prepared, profile: Profile) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program; whatever happens, its whole group is gone afterwards."""
    process = _start(prepared, profile)
    try:
        yield process
    finally:
        _kill_group(process)
        process.wait()
        if process.stdout:
            process.stdout.close()


def _start(prepared: _Prepared, profile: Profile) -> subprocess.Popen[bytes]:
    if HAS_LAUNCHER and prepared.folder_descriptor is not None:
        text = profile.text(prepared.folder_descriptor)
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), text, *prepared.argv],
            stdin=prepared.standard_input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(prepared.folder_descriptor,),
            env=dict(os.environ) if profile.keep_environment else {},
            start_new_session=True,
        )
    # Windows starts no program without SYSTEMROOT; it has neither exec nor rlimits.
    kept = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    return subprocess.Popen(
        prepared.argv,
        stdin=prepared.standard_input,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=prepared.folder,
        env=kept,
        start_new_session=os.name == "posix",
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def _collect(process: subprocess.Popen[bytes], limits: ShellLimits) -> ShellResult:
    timed_out = threading.Event()

    def stop() -> None:
        timed_out.set()
        _kill_group(process)

    timer = threading.Timer(limits.time_out_seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        data = _read(process.stdout, limits.output_limit_bytes + 1)
        truncated = len(data) > limits.output_limit_bytes
        if truncated:
            _kill_group(process)
        _await_end(process)
    finally:
        timer.cancel()
        timer.join()
    _kill_group(process)
    exit_code = process.wait()
    output = data[: limits.output_limit_bytes].decode("utf-8", "replace").replace("\0", "\ufffd")
    if timed_out.is_set():
        return ShellResult("timed_out", output, None, truncated)
    outcome: Literal["completed", "failed"] = "completed" if exit_code == 0 else "failed"
    return ShellResult(outcome, output, exit_code, truncated)


def _read(pipe: IO[bytes] | None, limit_bytes: int) -> bytes:
    return pipe.read(limit_bytes) if pipe else b""


def _await_end(process: subprocess.Popen[bytes]) -> None:
    """Wait for the program without reaping it, so that its group id stays its own."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    else:
        process.wait()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and everything that it started; harmless once it is reaped."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
