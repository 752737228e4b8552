"""stack.compose.events: what happens while the stream is broken is heard, or known to be missed."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from fakes.compose import PYTHON_IMAGE
from fakes.forwarder import Forwarder

from stack.compose import events
from stack.compose.containers import PROJECT_LABEL
from stack.compose.engine import Engine, ask, connect
from stack.compose.events import EngineEvents

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.docker


@pytest.fixture
def forwarder() -> Iterator[Forwarder]:
    made = Forwarder()
    made.open()
    yield made
    made.cut()


@pytest.fixture
def engine() -> Iterator[Engine]:
    made = connect(os.environ)
    yield made
    made.close()


@pytest.fixture
def project(engine: Engine) -> Iterator[str]:
    """A project of one container, which is removed at the end."""
    name = f"hb-{uuid.uuid4().hex[:8]}"
    labels = {PROJECT_LABEL: name}
    ask(
        lambda: engine.api.create_container(PYTHON_IMAGE, ["sleep", "60"], name=name, labels=labels)
    )
    yield name
    ask(lambda: engine.api.remove_container(name, force=True))


@pytest.fixture
def heard(forwarder: Forwarder, project: str) -> Iterator[EngineEvents]:
    """Events through a connection that can be cut."""
    engine = connect({"DOCKER_HOST": forwarder.host})
    made = EngineEvents(engine, project)
    made.open()
    yield made
    made.close()
    engine.close()


def wait_for(heard: EngineEvents, count: int) -> None:
    for _ in range(500):
        if heard.count >= count or heard._closed.wait(0.02):
            return
    pytest.fail(f"expected {count} events, got {heard.count}")


def test_a_restart_while_the_stream_is_broken_is_counted(
    heard: EngineEvents, engine: Engine, project: str, forwarder: Forwarder
) -> None:
    ask(lambda: engine.api.start(project))
    wait_for(heard, 1)
    forwarder.cut()
    ask(lambda: engine.api.restart(project, timeout=0))
    forwarder.open()
    wait_for(heard, 3)
    assert heard.complete()
    assert [*heard.restarts(Counter()).values()] == [1]


def test_a_gap_that_the_engine_no_longer_tells_is_missed(
    heard: EngineEvents, engine: Engine, project: str, forwarder: Forwarder
) -> None:
    """The engine keeps 256 events; here it has forgotten the last one that was heard."""
    ask(lambda: engine.api.start(project))
    wait_for(heard, 1)
    forwarder.cut()
    deadline = time.monotonic() + 30
    while heard._listening.is_set() and time.monotonic() < deadline:  # until the cut is noticed
        time.sleep(0.01)
    heard._last -= 1
    forwarder.open()
    assert not heard.complete()


def test_an_engine_that_does_not_come_back_is_missed(
    heard: EngineEvents,
    engine: Engine,
    project: str,
    forwarder: Forwarder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(events, "_TRIES", 1)
    ask(lambda: engine.api.start(project))
    wait_for(heard, 1)
    forwarder.cut()
    assert heard._thread
    heard._thread.join()
    assert not heard.complete()
