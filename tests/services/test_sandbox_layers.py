"""Every layer of the sandbox stops an attack that gets through without it (G3c)."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest
from fastapi.testclient import TestClient

from services.executor.app import build
from services.executor.policy.data import ShellLimits
from services.executor.policy.denied import DeniedError
from services.executor.tools import kernel, names, sandbox, selfcheck, shell
from services.executor.tools.profile import (
    LANDLOCK,
    LIMITS,
    NETWORK_NAMESPACE,
    NO_NEW_PRIVILEGES,
    SECCOMP,
    SYSTEM_FILES,
    Profile,
)
from services.executor.tools.sandbox import NotThereError, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from service_protocols import Eventually, SettingsFor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the layers are Linux's own")
NONE: frozenset[str] = frozenset()


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    (tmp_path / "secret.txt").write_text("secret", encoding="ascii")
    made = Sandbox(tmp_path / "sandbox")
    made.write("inside.txt", b"inside\n")
    return made


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    """No layer at all, for a Python program in a folder of the test's own."""
    tools = tmp_path / "tools"
    tools.mkdir()
    limits = ShellLimits.model_validate(
        {
            "path": {"posix": [str(tools)], "windows": ["x"]},
            "time_out_seconds": 60,
            "output_limit_bytes": 65_536,
            "cpu_seconds": 1,
        }
    )
    return Profile(NONE, limits, (*SYSTEM_FILES, *selfcheck.python_files()))


def attack(profile: Profile, box: Sandbox, text: str) -> shell.ShellResult:
    """Start a hostile program; it says THROUGH where it got what it wanted.

    Two words in its source, because a traceback quotes that.
    """
    text = text.replace("'THROUGH'", "'THR' 'OUGH'")
    path = box.root.parent / "tools" / "hostile"
    path.write_text(f"#!{sys.executable} -IS\nimport os, sys\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return shell.run(profile, box, ["hostile"], "arguments")


def need(*layers: str) -> None:
    """Skip where the machine has no such layer: nothing can be said about it here."""
    missing = set(layers) - selfcheck.try_layers().used
    if missing:
        pytest.skip(f"this machine has no {', '.join(sorted(missing))}")


READ_OUTSIDE = "print(open('../secret.txt').read(), 'THROUGH')"
WRITE = "open('new', 'wb', buffering=0).write(b'x'); print('THROUGH')"
TRUNCATE = "os.truncate('inside.txt', 0); print('THROUGH')"
FORK = "print('THROUGH') if os.fork() else os._exit(0)"
BOMB = "n = 0\nwhile n < 50:\n  n += 1\n  if os.fork() == 0: os._exit(0)\nprint('THROUGH')"
SIGNAL = "os.kill(os.getppid(), 0); print('THROUGH')"
OWNER_SIGNAL = (
    "import fcntl\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())\nprint('THROUGH')"
)
SOCKET = "import socket\nsocket.socket()\nprint('THROUGH')"
INTERFACES = "import socket\nprint('THROUGH' if len(socket.if_nameindex()) > 1 else 'alone')"
UNIX_SOCKET = "import socket\nsocket.socketpair()\nprint('THROUGH')"
MEMORY = "import mmap\nmmap.mmap(-1, 1 << 30)\nprint('THROUGH')"
FILES = "h = [os.open('.', 0) for _ in range(200)]\nprint('THROUGH')"
PROCESSOR = "import time\nwhile time.process_time() < 1.5: pass\nprint('THROUGH')"
TRACE = (
    "import ctypes\nprint('THROUGH' if ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0 else 'refused')"
)
MEMORY_FILE = "os.memfd_create('x'); print('THROUGH')"
NAMESPACE = (
    "import ctypes\nprint('THROUGH' if ctypes.CDLL(None).unshare(0x10000000) == 0 else 'refused')"
)
PROC_ROOT = "print(os.listdir('/proc/self/root/etc')[:1], 'THROUGH')"
PROC_PARENT = "print(open(f'/proc/{os.getppid()}/environ').read()[:1], 'THROUGH')"
PASSWORDS = "print(open('/etc/passwd').read()[:1], 'THROUGH')"
DEVICE = "print(open('/dev/zero', 'rb', 0).read(1), 'THROUGH')"
PRIVILEGES = "print('THROUGH' if 'NoNewPrivs:\\t0' in open('/proc/self/status').read() else 'no')"


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (LANDLOCK, READ_OUTSIDE),
        (LANDLOCK, WRITE),
        (LANDLOCK, PROC_ROOT),
        (LANDLOCK, PROC_PARENT),
        (LANDLOCK, PASSWORDS),
        (LANDLOCK, DEVICE),
        (SECCOMP, FORK),
        (SECCOMP, BOMB),
        (SECCOMP, SIGNAL),
        (SECCOMP, OWNER_SIGNAL),
        (SECCOMP, SOCKET),
        (SECCOMP, UNIX_SOCKET),
        (SECCOMP, TRACE),
        (SECCOMP, MEMORY_FILE),
        (SECCOMP, NAMESPACE),
        (SECCOMP, TRUNCATE),
        (LIMITS, MEMORY),
        (LIMITS, FILES),
        (LIMITS, PROCESSOR),
        (LIMITS, WRITE),
        (NO_NEW_PRIVILEGES, PRIVILEGES),
    ],
)
def test_an_attack_gets_through_without_the_layer_and_not_with_it(
    profile: Profile, box: Sandbox, layer: str, text: str
) -> None:
    need(layer)
    box.write("inside.txt", b"inside\n")
    assert "THROUGH" in attack(profile, box, text).output
    guarded = replace(profile, layers=frozenset({layer}))
    assert "THROUGH" not in attack(guarded, box, text).output


@pytest.mark.parametrize("layer", [SECCOMP, LANDLOCK, NETWORK_NAMESPACE])
def test_no_network_gets_through_any_one_of_three_layers(
    profile: Profile, box: Sandbox, layer: str
) -> None:
    import socket

    need(layer)
    with closing(socket.create_server(("127.0.0.1", 0))) as door:
        port = door.getsockname()[1]
        text = (
            "import socket\n"
            f"socket.create_connection(('127.0.0.1', {port}), 2).close()\nprint('THROUGH')"
        )
        assert "THROUGH" in attack(profile, box, text).output
        guarded = replace(profile, layers=frozenset({layer}))
        assert "THROUGH" not in attack(guarded, box, text).output


def test_a_policy_that_gives_a_network_gives_one(profile: Profile, box: Sandbox) -> None:
    """And takes nothing else away from the layers: no new process, nothing outside."""
    import socket

    layers = selfcheck.try_layers().used
    limits = profile.limits.model_copy(update={"network": True})
    open_ = replace(profile, layers=layers, limits=limits)
    with closing(socket.create_server(("127.0.0.1", 0))) as door:
        text = f"import socket\nsocket.create_connection(('127.0.0.1', {door.getsockname()[1]}), 5)"
        assert "THROUGH" in attack(open_, box, text + "\nprint('THROUGH')").output
    need(SECCOMP, LANDLOCK)
    for text in (FORK, READ_OUTSIDE):
        assert "THROUGH" not in attack(open_, box, text).output


ESCAPE = """
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.close(0); os.close(1); os.close(2)
import time
time.sleep(30)
"""


def test_a_program_that_leaves_its_session_is_why_there_is_no_fork(
    profile: Profile, box: Sandbox
) -> None:
    """A double fork outlives the kill of the group; with seccomp there is no first one."""
    need(SECCOMP)

    def survivors() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if str(box.root.parent / "tools" / "hostile") in process.cmdline():
                    found.append(process)
        return found

    attack(profile, box, ESCAPE)
    escaped = survivors()
    for process in escaped:
        process.kill()
    assert escaped
    attack(replace(profile, layers=frozenset({SECCOMP})), box, ESCAPE)
    assert survivors() == []


ENVIRONMENT = (
    "bad = [n for n in ('LD_PRELOAD', 'PATH', 'IFS', 'PYTHONPATH', 'BASH_ENV', 'CLIENT_TOKEN')"
    " if n in os.environ]\nprint('THROUGH' if bad else 'clean', bad)"
)


def test_nothing_of_the_executors_environment_reaches_a_program(
    profile: Profile, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LD_PRELOAD", "IFS", "PYTHONPATH", "BASH_ENV", "CLIENT_TOKEN"):
        monkeypatch.setenv(name, "/nowhere.so" if name == "LD_PRELOAD" else "x")
    monkeypatch.delenv("LD_PRELOAD")  # only named: a real one would be loaded by the test itself
    assert "THROUGH" in attack(replace(profile, keep_environment=True), box, ENVIRONMENT).output
    assert "clean" in attack(profile, box, ENVIRONMENT).output


def test_all_layers_together_stop_everything_that_gets_through_without_any() -> None:
    """What `/v1/sandbox` says, on this machine."""
    report = selfcheck.try_layers()
    assert set(report.without.values()) == {selfcheck.THROUGH}
    need(SECCOMP, LANDLOCK, LIMITS, NO_NEW_PRIVILEGES)
    assert report.holds
    assert set(report.together.values()) == {selfcheck.STOPPED}


def test_a_layer_that_does_nothing_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The self-check sees a filter that allows everything, and says what got through."""
    need(SECCOMP)
    allow_all = (0x06).to_bytes(2, "little") + bytes(2) + (0x7FFF0000).to_bytes(4, "little")
    monkeypatch.setattr("services.executor.tools.seccomp.build_filter", lambda *_, **__: allow_all)
    layers = {layer.name: layer for layer in selfcheck.try_anew().layers}
    assert not layers[SECCOMP].active
    assert layers[SECCOMP].used
    assert "start_process" in layers[SECCOMP].detail
    assert layers[LANDLOCK].active == (LANDLOCK in selfcheck.try_layers().used)


def test_a_layer_that_could_not_be_tried_is_used_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A machine too busy to answer in time must not switch the sandbox off."""
    monkeypatch.setattr(selfcheck, "CONTROL_SECONDS", 0.001)
    report = selfcheck.try_anew()
    assert not any(layer.active for layer in report.layers if layer.name != "openat2")
    assert report.used >= {SECCOMP, LANDLOCK} & selfcheck.try_layers().used
    assert not report.holds


def test_a_layer_that_fails_at_its_start_is_not_active(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that the kernel refuses: named with the reason, and not used."""
    need(SECCOMP)
    monkeypatch.setattr("services.executor.tools.seccomp.build_filter", lambda *_, **__: b"x" * 8)
    layers = {layer.name: layer for layer in selfcheck.try_anew().layers}
    assert (layers[SECCOMP].active, layers[SECCOMP].used) == (False, False)
    assert "not started" in layers[SECCOMP].detail


def test_a_layer_that_is_gone_later_stops_the_call(
    profile: Profile, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No program runs without a layer that was found at start."""
    monkeypatch.setattr("services.executor.tools.seccomp.build_filter", lambda *_, **__: b"x" * 8)
    monkeypatch.setattr("services.executor.tools.seccomp.machine", lambda: "x86_64")
    result = attack(replace(profile, layers=frozenset({SECCOMP})), box, "print('THROUGH')")
    assert (result.outcome, result.exit_code) == ("failed", 120)
    assert "THROUGH" not in result.output


def test_a_machine_without_a_list_of_calls_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.executor.tools.seccomp.machine", lambda: None)
    layers = {layer.name: layer for layer in selfcheck.try_anew().layers}
    assert not layers[SECCOMP].active
    assert "no list of system calls" in layers[SECCOMP].detail


def test_endless_output_ends_at_its_limit_and_a_long_one_does_not_block(
    profile: Profile, box: Sandbox
) -> None:
    result = attack(profile, box, "while True: os.write(1, b'x' * 65536)")
    assert (len(result.output), result.truncated) == (65_536, True)


# --- paths ---------------------------------------------------------------------------------


def _walks_like_a_naive_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every guard of the path switched off: names, kinds, links."""
    monkeypatch.setattr(sandbox, "split_path", lambda text: tuple(text.split("/")))
    monkeypatch.setattr(sandbox, "_check_plain_file", lambda _status: None)
    monkeypatch.setattr(sandbox, "_check_folder", lambda _status: None)
    monkeypatch.setattr(sandbox, "_READ", os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setattr(sandbox, "_FOLDER", os.O_RDONLY)
    monkeypatch.setattr(kernel, "has_openat2", lambda: False)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("../secret.txt", b"secret"),
        ("link", b"secret"),
        ("folder/secret.txt", b"secret"),
        ("root/secret.txt", b"secret"),
        ("twin", b"secret"),
        ("fifo", b""),
    ],
)
def test_a_path_leads_out_without_the_guards_and_not_with_them(
    box: Sandbox, path: str, found: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = box.root.parent
    (box.root / "root").symlink_to(f"/proc/self/root{outside}", target_is_directory=True)
    (box.root / "link").symlink_to(outside / "secret.txt")
    (box.root / "folder").symlink_to(outside, target_is_directory=True)
    os.link(outside / "secret.txt", box.root / "twin")
    os.mkfifo(box.root / "fifo")
    with pytest.raises(DeniedError):
        box.read(path, 100_000)
    _walks_like_a_naive_one(monkeypatch)
    assert box.read(path, 100_000) == found


def test_openat2_alone_refuses_what_a_plain_open_follows(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernel.has_openat2():
        pytest.skip("this kernel has no openat2")
    (box.root / "link").symlink_to(box.root.parent / "secret.txt")
    handle = os.open(box.root, os.O_RDONLY)
    try:
        for name in ("link", "../secret.txt", "/etc/passwd"):
            with pytest.raises(OSError, match=r".+"):
                kernel.open_beneath(name, os.O_RDONLY, dir_fd=handle)
        processes = os.open("/proc", os.O_RDONLY)
        for name in ("self/root", "self/exe", "self/fd/0"):
            with pytest.raises(OSError, match=r".+"):
                kernel.open_beneath(name, os.O_RDONLY, dir_fd=processes)
        os.close(processes)
        monkeypatch.setattr(kernel, "has_openat2", lambda: False)
        for name in ("link", "../secret.txt", "/etc/passwd"):
            os.close(kernel.open_beneath(name, os.O_RDONLY, dir_fd=handle))
    finally:
        os.close(handle)


RACE_SECONDS = 2.0


def _race(box: Sandbox) -> set[bytes]:
    """What a thousand reads find while a file and a link to the secret take turns."""
    stop = threading.Event()

    def swap() -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            new = box.root / "next"
            with suppress(FileNotFoundError):
                new.unlink()
            if turn % 2:
                new.symlink_to(box.root.parent / "secret.txt")
            else:
                new.write_bytes(b"inside\n")
            new.replace(box.root / "inside.txt")

    swapper = threading.Thread(target=swap)
    swapper.start()
    found, end = set(), time.monotonic() + RACE_SECONDS
    try:
        while time.monotonic() < end and b"secret" not in found:
            with suppress(DeniedError, NotThereError, OSError):
                found.add(box.read("inside.txt", 100))
    finally:
        stop.set()
        swapper.join()
    return found


@pytest.mark.parametrize("openat2", [True, False])
def test_a_file_swapped_for_a_link_in_a_loop_is_never_followed(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch, *, openat2: bool
) -> None:
    if openat2 and not kernel.has_openat2():
        pytest.skip("this kernel has no openat2")
    monkeypatch.setattr(kernel, "has_openat2", lambda: openat2)
    assert b"secret" not in _race(box)


def test_the_same_loop_wins_against_a_check_by_name_alone(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked, then opened through links: the race is real, so the test above can fail."""
    monkeypatch.setattr(kernel, "has_openat2", lambda: False)
    monkeypatch.setattr(sandbox, "_READ", os.O_RDONLY)
    real = sandbox._check_plain_file
    checks = 0

    def only_before(status: os.stat_result) -> None:
        nonlocal checks
        checks += 1
        if checks % 2:
            real(status)
            time.sleep(0.001)

    monkeypatch.setattr(sandbox, "_check_plain_file", only_before)
    assert b"secret" in _race(box)


def test_names_are_refused_before_any_system_call(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outermost layer: a hostile name never reaches the kernel."""
    asked: list[object] = []
    monkeypatch.setattr(sandbox.Sandbox, "_walk", lambda *a, **k: asked.append((a, k)))
    for text in ("../x", "/x", "a\0b", "a/../b", "%2e%2e/x", "\uff0e\uff0e/x", "-rf", "a" * 600):
        with pytest.raises(DeniedError):
            box.read(text, 10)
        with pytest.raises(DeniedError):
            names.split_path(text)
    assert asked == []


def test_the_endpoint_and_the_metric_say_what_was_tried(
    settings_for: SettingsFor, client_headers: dict[str, str], eventually: Eventually
) -> None:
    report = selfcheck.try_layers()
    with TestClient(build(settings_for("executor"))) as client:
        assert client.get("/v1/sandbox").status_code == 401
        answer = client.get("/v1/sandbox", headers=client_headers).json()
        active = {layer["name"]: layer["active"] for layer in answer["layers"]}
        assert active == {layer.name: layer.active for layer in report.layers}
        assert answer["together"] == dict(report.together)
        assert answer["holds"] is report.holds
        assert answer["process"]["user"] == str(os.geteuid())
        line = f'sandbox_layer_active{{layer="limits"}} {float(active["limits"])}'
        eventually(lambda: line in client.get("/metrics").text)
