"""stack.compose.runtime on a real engine: start, observe, stop, and nothing left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from fakes.runtimes import Opened, freeze, left_of

from common.cli import ScriptError
from security.known_values import search
from stack.compose.containers import list_project
from stack.compose.engine import ask
from stack.compose.leftovers import anonymous_volumes, volumes_left
from stack.health import check_services
from stack.ports import local_ports, port_is_free

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stack.compose.runtime import ComposeRuntime

pytestmark = pytest.mark.docker


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    opener = Opened(tmp_path)
    yield opener
    opener.close()


def nothing_left(runtime: ComposeRuntime) -> bool:
    ports = local_ports(runtime.services).values()
    return not left_of(runtime.project) and all(map(port_is_free, ports))


def row_of(runtime: ComposeRuntime, service: str) -> dict[str, Any]:
    rows = {row["service"]: row for row in runtime.observed()["containers"]}
    found: dict[str, Any] = rows[service]
    return found


def test_a_start_is_healthy_and_a_stop_leaves_nothing(opened: Opened) -> None:
    """P1, G1: everything with the project's label is gone; facts and whole logs are kept."""

    def add_volumes(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        compose["volumes"] = {"named": {}}
        compose["services"]["jobs"]["volumes"] += ["named:/named", "/anonymous"]

    runtime = opened(add_volumes)
    runtime.prepare()
    started = {item.name: item for item in runtime.start()}
    assert (started["jobs"].ready_seconds or 99) < (started["front"].ready_seconds or 0)
    assert all(row["healthy"] for row in check_services(runtime, [*started.values()]))
    named = {thing.name for thing in left_of(runtime.project) if thing.kind == "volume"}
    nameless = anonymous_volumes(runtime.engine, runtime.project)
    assert named
    assert nameless
    assert list(runtime.stop()) == []
    assert nothing_left(runtime)
    assert volumes_left(runtime.engine, named | nameless) == []
    row = row_of(runtime, "jobs")
    assert (row["state"], row["restarts"], row["oom_killed"]) == ("running", 0, False)
    usage = row["usage"]
    assert 0 < usage["memory_bytes"] < usage["memory_limit_bytes"]
    assert usage["cpu_seconds"] > 0
    assert usage["processes"] >= 1
    assert row["image_id"] in {image["id"] for image in runtime.observed()["images"]}
    log = runtime.log_path("jobs")
    assert log
    assert "jobs serves at" in log.read_text()
    runtime.close()
    assert not runtime.state.exists()
    assert not runtime.record.path.exists()


def test_a_second_start_of_the_same_runtime_is_a_fresh_one(opened: Opened) -> None:
    """G1: ten cycles are ten starts of one runtime."""
    runtime = opened()
    runtime.prepare()
    for _ in range(2):
        assert all(item.healthy for item in runtime.start())
        assert list(runtime.stop()) == []
    assert nothing_left(runtime)


def test_what_is_not_of_the_project_is_never_touched(opened: Opened) -> None:
    runtime = opened()
    runtime.prepare()
    api = runtime.engine.api
    image = runtime.observed()["images"][0]["reference"]
    labels = {"com.docker.compose.project": f"{runtime.project}-other"}
    foreign = ask(lambda: api.create_container(image, ["true"], labels=labels))["Id"]
    try:
        runtime.start()
        runtime.stop()
        assert ask(lambda: api.inspect_container(foreign))["State"]["Status"] == "created"
    finally:
        ask(lambda: api.remove_container(foreign, force=True))


def test_a_killed_service_is_started_again_on_request(opened: Opened) -> None:
    """Issue 3: `docker kill`; a restart that was asked for is no restart of its own."""
    runtime = opened()
    runtime.prepare()
    runtime.start()
    runtime.kill("jobs")
    assert runtime.restart("jobs").healthy
    runtime.stop()
    assert row_of(runtime, "jobs")["restarts"] == 0


def test_a_paused_service_does_not_answer_until_it_goes_on(opened: Opened) -> None:
    from stack.health import probe

    runtime = opened()
    runtime.prepare()
    runtime.start()
    url = runtime.stack.service("jobs").url + "/healthz"
    freeze(lambda: runtime.pause("jobs"))
    assert not probe(url, 0.5).healthy
    runtime.unpause("jobs")
    assert probe(url).healthy


def test_a_crash_that_the_engine_heals_is_counted(opened: Opened) -> None:
    """A container that ended and was started again looks healthy; its restarts don't."""

    def restarting(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        compose["services"]["jobs"]["restart"] = "always"

    runtime = opened(restarting)
    runtime.prepare()
    runtime.start()
    listed = list_project(runtime.engine, runtime.project)
    (identity,) = [item.id for item in listed if item.service == "jobs"]
    kill = ["python", "-c", "import os; os.kill(-1, 9)"]
    made = ask(lambda: runtime.engine.api.exec_create(identity, kill))
    ask(lambda: runtime.engine.api.exec_start(made["Id"]))
    _wait_for_restart(runtime, identity)
    runtime.stop()
    assert row_of(runtime, "jobs")["restarts"] == 1


def _wait_for_restart(runtime: ComposeRuntime, identity: str) -> None:
    for _ in range(600):
        value = ask(lambda: runtime.engine.api.inspect_container(identity))
        if value["RestartCount"] and value["State"]["Running"]:
            return
    pytest.fail("the engine did not start the container again")


def test_a_service_that_ended_is_down_in_the_facts(opened: Opened) -> None:
    runtime = opened()
    runtime.prepare()
    runtime.start()
    runtime.kill("front")
    runtime.stop()
    row = row_of(runtime, "front")
    assert (row["state"], row["exit_code"], row["task"]) == ("exited", 137, False)


def test_a_service_that_ignores_sigterm_is_reported(opened: Opened) -> None:
    runtime = opened(front="ignore_sigterm")
    runtime.prepare()
    runtime.start()
    assert [*runtime.stop()] == ["front did not stop within its grace: killed"]
    assert nothing_left(runtime)


def test_a_log_of_a_container_beside_the_services_is_kept(opened: Opened) -> None:
    def add_task(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        image = compose["services"]["jobs"]["image"]
        compose["services"]["task"] = {"image": image, "command": ["echo", "task is done"]}
        needs = {"task": {"condition": "service_completed_successfully"}}
        compose["services"]["jobs"]["depends_on"] = needs

    runtime = opened(add_task)
    runtime.prepare()
    runtime.start()
    assert [*runtime.stop()] == []
    assert runtime.more_logs()["task"].read_text() == "task is done\n"
    row = row_of(runtime, "task")
    assert (row["state"], row["exit_code"], row["task"]) == ("exited", 0, True)


def test_a_log_is_read_while_the_system_runs(opened: Opened) -> None:
    """G3d: what is new in it, or an error; never silence where nobody looked."""
    runtime = opened()
    runtime.prepare()
    runtime.start()
    views = runtime.log_views()
    assert views.keys() >= {"front", "jobs"}
    jobs, front = views["jobs"], views["front"]
    assert jobs
    assert front
    earlier = b"".join(jobs.blocks())
    runtime.kill("jobs")
    runtime.restart("jobs")
    time.sleep(jobs.settle_seconds)
    new = b"".join(jobs.blocks())
    assert new.count(b"jobs serves at") == earlier.count(b"jobs serves at") + 1
    assert b"jobs serves at" not in b"".join(front.blocks())
    (identity,) = (
        item.id for item in list_project(runtime.engine, runtime.project) if item.service == "jobs"
    )
    ask(lambda: runtime.engine.api.remove_container(identity, force=True))
    with pytest.raises(ScriptError, match="the Docker engine refused"):
        [*jobs.blocks()]
    assert runtime.log_views()["jobs"] is None


def test_a_log_that_the_engine_does_not_keep_can_not_be_seen(opened: Opened) -> None:
    def without_log(_stack: dict[str, Any], compose: dict[str, Any]) -> None:
        compose["services"]["jobs"]["logging"] = {"driver": "none"}

    runtime = opened(without_log)
    runtime.prepare()
    runtime.start()
    with pytest.raises(ScriptError, match="does not support reading"):
        runtime.log_views()
    runtime.stop()
    path = runtime.log_path("jobs")
    assert search({"jobs": path, "front": runtime.log_path("front")}, {}).unseen == ("jobs",)
