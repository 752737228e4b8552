"""The end of a project on a real engine: only what is ours goes, and all trouble is said."""

from __future__ import annotations

import errno
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.forwarder import ENGINE
from fakes.runtimes import PYTHON_IMAGE, Opened, left_of

from benchmarks.compose import floor_project
from common.cli import ScriptError
from stack import records
from stack.compose import stop
from stack.compose.engine import ask
from stack.compose.leftovers import anonymous_volumes, volumes_left

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stack.compose.runtime import ComposeRuntime

pytestmark = pytest.mark.docker


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    opener = Opened(tmp_path)
    yield opener
    opener.close()


def forget_harness(record: records.Record) -> None:
    """As if the harness of this record had been killed."""
    record.harness_birth = "another"
    record.save()


@pytest.fixture
def foreign(opened: Opened) -> Iterator[tuple[ComposeRuntime, str]]:
    """A runtime that mounts a volume of others, named as the engine names anonymous ones."""
    volume = secrets.token_hex(32)

    def mount(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        compose["volumes"] = {"theirs": {"external": True, "name": volume}}
        compose["services"]["jobs"]["volumes"] += ["theirs:/theirs", "/anonymous"]

    runtime = opened(mount)
    api = runtime.engine.api
    ask(lambda: api.create_volume(volume))
    try:
        yield runtime, volume
    finally:
        opened.close()
        ask(lambda: opened().engine.api.remove_volume(volume))


def test_an_external_volume_with_a_nameless_name_is_never_touched(
    foreign: tuple[ComposeRuntime, str],
) -> None:
    runtime, volume = foreign
    runtime.prepare()
    runtime.start()
    nameless = anonymous_volumes(runtime.engine, runtime.project)
    assert len(nameless) == 1
    assert [*runtime.stop()] == []
    assert [thing.name for thing in volumes_left(runtime.engine, {volume, *nameless})] == [volume]


def test_a_sweep_leaves_an_external_volume_too(foreign: tuple[ComposeRuntime, str]) -> None:
    """Nothing but the containers is at hand there."""
    runtime, volume = foreign
    runtime.prepare()
    runtime.start()
    nameless = anonymous_volumes(runtime.engine, runtime.project)
    forget_harness(runtime.record)
    lines = records.sweep()
    assert any("removed container" in line for line in lines)
    assert not any(volume in line for line in lines)
    assert [thing.name for thing in volumes_left(runtime.engine, {volume, *nameless})] == [volume]


def test_a_full_disk_at_the_stop_is_said_and_the_project_goes_down(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = opened()
    runtime.prepare()
    runtime.start()
    opening = Path.open

    def full(path: Path, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        if "w" in mode and path.parent == runtime.state / "logs":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opening(path, mode, *arguments, **more)

    monkeypatch.setattr(Path, "open", full)
    findings = runtime.stop()
    assert "the log of jobs can't be kept: no space left on device: free space" in findings
    assert any(line.startswith("docker compose down failed:") for line in findings)
    assert left_of(runtime.project) == []
    assert len(runtime.observed()["containers"]) == len(runtime.services)


def test_what_a_failed_start_left_over_is_said_again_at_the_stop(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Criterion nothing-left counts what the stop returns."""
    runtime = opened(jobs="exit")
    runtime.prepare()
    monkeypatch.setattr(stop.ComposeStop, "_run_down", lambda _: None)
    with pytest.raises(ScriptError, match="jobs ended with exit code 3"):
        runtime.start()
    assert left_of(runtime.project) == []
    findings = runtime.stop()
    assert any(line.startswith("left over: container ") for line in findings)
    assert runtime.stop() == findings


def test_missed_events_give_no_figure(opened: Opened) -> None:
    """An unknown number of restarts is not 0: the criterion is inconclusive."""
    runtime = opened()
    runtime.prepare()
    runtime.start()
    assert runtime._end
    runtime._end.events._missed = True
    assert [*runtime.stop()] == []
    assert runtime.observed()["containers"] == []


def test_the_engine_of_a_context_is_recorded_itself(opened: Opened, tmp_path: Path) -> None:
    """`docker context use` after a kill: the sweep still asks the engine of the run."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    host = f"unix://{tmp_path}/engine.sock"
    (tmp_path / "engine.sock").symlink_to(ENGINE)
    value = [{"Endpoints": {"docker": {"Host": host}}, "Storage": {}}]
    docker.write_text(f"#!/bin/sh\necho '{json.dumps(value)}'\n")
    docker.chmod(0o755)
    (tmp_path / "config.json").write_text('{"currentContext": "mine"}')
    runtime = opened(
        environ={"DOCKER_HOST": "", "DOCKER_CONFIG": str(tmp_path), "PATH": f"{docker.parent}:/bin"}
    )
    runtime._use()
    assert runtime.record.engine == {"DOCKER_HOST": host}
    runtime._in_use = False


def test_an_image_whose_tag_moved_before_the_start_is_refused(opened: Opened) -> None:
    tag = f"hb-moved-{secrets.token_hex(4)}"

    def tagged(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        compose["services"]["front"]["image"] = tag

    api = opened().engine.api
    ask(lambda: api.tag(PYTHON_IMAGE, tag))
    made = ask(lambda: api.create_container(PYTHON_IMAGE, ["true"]))["Id"]
    try:
        runtime = opened(tagged)
        runtime.prepare()
        moved = ask(lambda: api.commit(made, tag, conf={"Labels": {"moved": "yes"}}))["Id"]
        with pytest.raises(ScriptError, match=rf"^front: expected the image .*, got {moved}"):
            runtime.start()
        assert left_of(runtime.project) == []
    finally:
        ask(lambda: api.remove_container(made, force=True))
        ask(lambda: api.remove_image(tag, force=True))


def test_the_floor_of_the_benchmark_is_swept_after_a_kill(opened: Opened) -> None:
    runtime = opened()
    runtime.prepare()
    with floor_project(runtime) as bare:
        bare.run("create", seconds=60)
        assert left_of(bare.project)
        (record,) = (item for item in records._records() if item.project == bare.project)
        forget_harness(record)
        assert any("removed container" in line for line in records.sweep())
        assert left_of(bare.project) == []
    assert {item.project for item in records._records()} == {runtime.project}
