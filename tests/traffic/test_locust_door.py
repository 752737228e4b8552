"""traffic.locust_engine: who may join, and what is never said to anybody."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from locust_system import KEY, ONE, SECRET, TOKEN, Eavesdropper, Making, outcomes

from common.cli import ConfigurationError, ScriptError
from traffic.locust_engine import LocustEngine
from traffic.locust_wire import LOST_SECONDS, TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from traffic_system import FakeSystem

pytestmark = pytest.mark.slow


@pytest.fixture
def make(
    start_system: Callable[..., FakeSystem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Making]:
    making = Making(start_system, tmp_path, monkeypatch)
    yield making
    making.close()


def test_a_worker_that_has_no_business_here_is_refused(make: Making, tmp_path: Path) -> None:
    """Wrong token, another stack file, one too many; the one that belongs here goes on."""
    system = make(ONE, workers=1)
    other = tmp_path / "other.yaml"
    other.write_text(system.file.read_text() + "# changed\n")
    refused: dict[str, dict[str, Any]] = {
        "wrong": {"token": "another-token-of-16"},
        "changed": {"file": other},
        "worker-0": {},
    }
    with system.engine:
        started = {name: system.work(name, **changes) for name, changes in refused.items()}

        async def until_refused() -> None:
            stop = asyncio.Event()
            running = asyncio.create_task(system.run(60, stop=stop))
            for process in started.values():
                await asyncio.to_thread(process.wait, 50)
            stop.set()
            await running

        asyncio.run(until_refused())
    said = {name: process.communicate()[1] for name, process in started.items()}
    assert {process.returncode for process in started.values()} == {78}
    assert "error: the master refused: it has another token" in said["wrong"]
    assert "stack_sha256: expected" in said["changed"]
    assert "is here already" in said["worker-0"]
    assert outcomes(system).keys() == {"OK"}
    assert system.engine.facts()["refused_messages"] == 1


def test_a_worker_may_come_long_before_the_master(make: Making) -> None:
    """Longer than it would wait for a word of one that it has found."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    system = make(ONE, workers=1, port=port)
    system.work("early", port=port)
    time.sleep(LOST_SECONDS + 1)
    system.engine = LocustEngine(system.stack, system.target, system.options)
    system.send(1)
    assert outcomes(system) == {"OK": 10}
    assert [worker.wait(10) for worker in system.workers] == [0]


def test_no_secret_and_no_token_is_ever_sent_to_or_by_a_worker(make: Making) -> None:
    """Not even where an answer repeats a header into the text of an error."""
    repeats = {**ONE, "path": "/echo", "expect": {"status": 200, "json": {"/head": 1}}}
    system = make(repeats, workers=1)
    with Eavesdropper() as between:
        say = between.introduce(system)
        system.engine = LocustEngine(system.stack, system.target, system.options, say)
        system.send(1)
    assert outcomes(system) == {"WRONG": 10}
    assert b"redacted" in between.heard
    assert b"clock_bound_seconds" in between.heard
    assert SECRET.encode() not in between.heard
    assert TOKEN.encode() not in between.heard


def test_a_secret_that_no_worker_can_know_is_refused(
    make: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = make(ONE)
    monkeypatch.setenv(KEY, "another-value-of-it")
    with pytest.raises(ConfigurationError, match=f"{KEY} was made for this start"), system.engine:
        pass
    assert system.lines == []


def test_no_token_is_refused(make: Making, monkeypatch: pytest.MonkeyPatch) -> None:
    system = make(ONE)
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(ConfigurationError, match="expected 16 characters or more, got 5"):
        system.engine.__enter__()


def test_too_few_workers_is_one_line_that_says_how_many_came(make: Making) -> None:
    system = make(ONE, workers=1, wait_seconds=0.5)
    with pytest.raises(ScriptError, match=r"expected 1 Locust workers within 0\.5 s, got 0: start"):
        system.engine.__enter__()


def test_a_port_in_use_is_one_line(make: Making) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        system = make(ONE, port=taken.getsockname()[1])
        with pytest.raises(
            ConfigurationError, match=r"can't be used \(.*\): give the master another"
        ):
            system.engine.__enter__()
