"""stack.compose.runtime with an engine behind TCP: secrets go there, and it may go away."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from fakes.compose import PYTHON_IMAGE
from fakes.forwarder import Forwarder
from fakes.runtimes import Opened, left_of

from common.cli import ScriptError
from stack import records
from stack.compose.engine import connect
from stack.compose.secret_files import RemoteSecrets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.docker


@pytest.fixture
def forwarder() -> Iterator[Forwarder]:
    made = Forwarder()
    made.open()
    yield made
    made.cut()


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    opener = Opened(tmp_path)
    yield opener
    opener.close()


def test_a_system_runs_on_an_engine_behind_tcp(opened: Opened, forwarder: Forwarder) -> None:
    """Everything goes through DOCKER_HOST; nothing uses the local socket."""
    runtime = opened(environ={"DOCKER_HOST": forwarder.host})
    runtime.prepare()
    assert not runtime.engine.endpoint.local
    assert all(item.healthy for item in runtime.start())
    assert [*runtime.stop()] == []
    assert left_of(runtime.project) == []
    assert runtime.log_path("jobs")


def test_secret_files_are_copied_to_the_engine_and_removed(
    tmp_path: Path, forwarder: Forwarder
) -> None:
    state = tmp_path / "state" / "run"
    (state / "secrets").mkdir(parents=True)
    (state / "secrets" / "KEY").write_text("a secret of this run")
    engine = connect({"DOCKER_HOST": forwarder.host})
    remote = RemoteSecrets(engine, PYTHON_IMAGE, "hb-remote")
    remote.copy(state / "secrets")
    assert (state / "secrets" / "KEY").read_text() == "a secret of this run"
    # The engine sees this machine's files; its own copy is the one without a time.
    assert (state / "secrets" / "KEY").stat().st_mtime == 0
    assert (state / "secrets" / "KEY").stat().st_mode & 0o777 == 0o444
    assert remote.remove() is None
    assert not state.exists()
    assert left_of("hb-remote") == []
    engine.close()


def test_an_engine_that_is_gone_at_the_stop_is_said_and_the_record_stays(
    opened: Opened, forwarder: Forwarder
) -> None:
    """A later command takes the project down, once the engine is there again."""
    runtime = opened(environ={"DOCKER_HOST": forwarder.host})
    runtime.prepare()
    runtime.start()
    forwarder.cut()
    findings = [*runtime.stop()]
    assert any("the next command removes it" in line for line in findings), findings
    runtime.close()
    assert left_of(runtime.project)
    runtime.record.harness_birth = "another"
    runtime.record.save()
    assert any("may still be there" in line for line in records.sweep())
    forwarder.open()
    assert any("removed container" in line for line in records.sweep())
    assert left_of(runtime.project) == []
    assert not runtime.record.path.exists()


def test_an_engine_that_goes_away_during_the_start_is_one_line(
    opened: Opened, forwarder: Forwarder, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        compose["services"]["jobs"]["command"] = ["sleep", "60"]

    runtime = opened(slow, environ={"DOCKER_HOST": forwarder.host})
    runtime.prepare()

    def cut_when_it_starts() -> None:
        while not left_of(runtime.project):
            time.sleep(0.05)
        forwarder.cut()

    threading.Thread(target=cut_when_it_starts, daemon=True).start()
    with pytest.raises(
        ScriptError, match=r"Docker engine (refused|does not answer|answers)"
    ) as caught:
        runtime.start()
    assert "\n" not in str(caught.value)
    assert f"left over: the project {runtime.project}" in capsys.readouterr().err
    forwarder.open()
    runtime._in_use = True
    runtime.stop()
    assert left_of(runtime.project) == []
