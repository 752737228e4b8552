"""What services use: read from real processes, never made up where nothing can be seen."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from common.cli import ScriptError
from soak.minutes import Minute, service_rows
from soak.sampler import USS, OwnUse, Sampler, Usage, usage_of_tree
from stack import records
from stack.identity import Identity, of_listeners, of_process
from stack.model import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

MEBIBYTE = 1 << 20
HOLDER = """
import socket, subprocess, sys
block = bytearray(range(256)) * 80000
server = socket.create_server(("127.0.0.1", 0))
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(server.getsockname()[1], flush=True)
input()
child.communicate()
"""


@pytest.fixture
def holder() -> Iterator[tuple[int, int]]:
    """A process that holds 20 MB and has a child; its pid and port."""
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        for item in psutil.Process(process.pid).children():
            item.kill()
        process.kill()


def test_a_tree_is_read_as_one_service(holder: tuple[int, int]) -> None:
    pid, _ = holder
    usage = usage_of_tree(pid)
    assert usage is not None
    assert usage.processes == 2
    assert usage.memory_kind == USS
    assert usage.memory_bytes is not None
    assert usage.memory_bytes > 20 * MEBIBYTE
    assert usage.threads is not None
    assert usage.threads >= 2
    assert usage.file_descriptors is not None
    assert usage.file_descriptors >= 6


def test_established_connections_are_counted(holder: tuple[int, int]) -> None:
    """A peer that is held open is one; a listening socket is none."""
    _, port = holder
    before = usage_of_tree(psutil.Process().pid)
    with socket.create_connection(("127.0.0.1", port)):
        after = usage_of_tree(psutil.Process().pid)
    assert before is not None
    assert after is not None
    assert (after.connections or 0) > (before.connections or 0)


def test_a_process_that_ended_has_no_reading() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert usage_of_tree(process.pid) is None


def test_an_identity_is_of_one_life_only(holder: tuple[int, int]) -> None:
    pid, _ = holder
    born = records.birth(pid)
    assert of_process(pid, born) == of_process(pid, born)
    assert not of_process(pid, born).ended
    assert of_process(pid, "another").ended


def test_a_zombie_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = records.birth(process.pid)
    assert not of_process(process.pid, born).ended
    process.kill()
    # Not waited for: it stays a zombie.
    for _ in range(100):
        if psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.02)
    assert of_process(process.pid, born).ended
    process.communicate()


def test_a_listener_of_this_machine_is_found_and_no_other(holder: tuple[int, int]) -> None:
    pid, port = holder
    services = [
        Service("here", f"http://127.0.0.1:{port}"),
        Service("elsewhere", "http://192.0.2.1:80"),
        Service("nobody", "http://127.0.0.1:1"),
    ]
    found = of_listeners(services)
    assert found["here"] is not None
    assert found["here"].pid == pid
    assert (found["elsewhere"], found["nobody"]) == (None, None)


def runtime(identities: Any) -> Any:
    services = [Service("front", "http://127.0.0.1:1")]
    return SimpleNamespace(name="process", services=services, identities=identities)


def test_an_engine_that_is_gone_shows_nothing() -> None:
    def gone() -> dict[str, Identity | None]:
        raise ScriptError("the engine is gone")

    assert Sampler(runtime(gone)).identities() == {"front": None}


def test_what_cant_be_seen_or_ended_has_no_usage() -> None:
    sampler = Sampler(runtime(dict))
    assert sampler.usage({"a": None, "b": Identity(""), "c": Identity("x")}) == {
        "a": None,
        "b": None,
        "c": None,
    }


def test_the_harness_measures_itself() -> None:
    own = OwnUse()
    sum(range(2_000_000))
    assert own.used_cpu_seconds() > 0
    assert (own.memory_bytes() or 0) > MEBIBYTE


def usage(cpu_seconds: float | None) -> Usage:
    return Usage(MEBIBYTE, USS, cpu_seconds, 1)


def test_processor_time_of_a_minute_is_the_difference() -> None:
    rows = service_rows({"a": usage(33.0)}, {"a": usage(30.0)}, 60, {"a": 0})
    assert rows["a"] is not None
    assert (rows["a"]["cpu_ratio"], rows["a"]["restarts"]) == (0.05, 0)


def test_a_share_that_cant_be_known_is_none() -> None:
    for before, after in ((None, 30.0), (30.0, None)):
        earlier = {"a": None if before is None else usage(before)}
        rows = service_rows({"a": usage(after)}, earlier, 60, {})
        assert rows["a"] is not None
        assert rows["a"]["cpu_ratio"] is None
    assert service_rows({"a": None}, {}, 60, {}) == {"a": None}


def test_processor_time_never_falls() -> None:
    rows = service_rows({"a": usage(10.0)}, {"a": usage(30.0)}, 60, {"a": None})
    assert rows["a"] is not None
    assert rows["a"]["cpu_ratio"] == 0


@pytest.mark.parametrize("partial", [True, False])
def test_a_minute_that_was_cut_is_marked(*, partial: bool) -> None:
    value = Minute(["chat"], 0.0).as_json(
        number=1, piece=1, end_seconds=31, partial=partial, in_flight=0, services={}, harness={}
    )
    assert value["partial"] is partial
    assert value["profiles"]["chat"]["latency"] is None
