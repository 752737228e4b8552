"""Every container of the reference system is hurt with 50 jobs in flight; nothing is lost or twice.

Source: issue 3. One stack serves all cases, so that each also meets what the ones before left.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fakes.runtimes import freeze
from jobs_in_flight import JOBS, board_of, settle, submit_all

from stack.compose import create
from stack.compose.containers import list_project
from stack.health import probe
from stack.jobs import COMPLETED, NOT_SUBMITTED
from stack.load import load_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stack.compose.runtime import ComposeRuntime

pytestmark = [pytest.mark.docker, pytest.mark.stack]
REFERENCE = Path(__file__).resolve().parents[2] / "compose/reference/stack.yaml"
STACK = load_stack(REFERENCE, {})
DATABASES = ["postgres", "redis"]
WORKING = ["targets", "memory-engine", "control-plane", "executor", *DATABASES]
# No job passes through these: they are hurt together, which takes a quarter of the time.
BYSTANDERS = ["model-router", "sessions", "gateway", "prometheus"]
VICTIMS = {**{name: [name] for name in WORKING}, "bystanders": BYSTANDERS}
RECOVERY_SECONDS = 60.0
Container = Any  # docker.models.containers.Container: the SDK's stubs know no more


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeRuntime]:
    """A started reference system in containers; everything of it is removed afterwards."""
    cache = str(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROOF_PACK_CACHE_DIR", cache)
        runtime = create(STACK, os.environ)
        try:
            runtime.prepare()
            runtime.start()
            yield runtime
        finally:
            assert not runtime.stop()
            runtime.close()


def container_of(runtime: ComposeRuntime, service: str) -> Container:
    """The container of a compose service of this run."""
    import docker

    labels = [
        f"com.docker.compose.project={runtime.project}",
        f"com.docker.compose.service={service}",
    ]
    (found,) = docker.from_env().containers.list(all=True, filters={"label": labels})
    return found


def kill_process(container: Container) -> None:
    """`kill -9` of the first process, behind the engine's back."""
    if os.geteuid() != 0:
        pytest.skip("only root may end a container's process from outside")
    os.kill(container.attrs["State"]["Pid"], signal.SIGKILL)


def kill_container(container: Container) -> None:
    """`docker kill`."""
    container.kill()


def pause(container: Container) -> None:
    """`docker pause` for longer than most time-outs."""
    freeze(container.pause)
    time.sleep(7)
    container.unpause()


def exhaust_memory(container: Container) -> None:
    """Use up the container's memory, and have the kernel choose its first process."""
    since = int(time.time()) - 1
    script = "echo 1000 > /proc/1/oom_score_adj && exec tail /dev/zero"
    user = container.exec_run(["sh", "-c", "stat -c %u /proc/1"]).output.decode().strip()
    container.exec_run(["sh", "-c", script], user=user)
    events = container.client.api.events(
        since=since,
        until=int(time.time()) + 1,
        filters={"container": container.id, "event": "oom"},
        decode=True,
    )
    assert list(events), f"{container.name} was not out of memory: the test would prove nothing"


FAULTS: list[Callable[[Container], None]] = [kill_process, kill_container, pause, exhaust_memory]


def recover(runtime: ComposeRuntime, containers: list[Container]) -> None:
    """Start again what its restart policy does not, and wait until all is healthy and ready."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    time.sleep(0.5)
    waiting = list(containers)
    while waiting:
        waiting = [container for container in waiting if not is_healthy_again(container)]
        states = {container.name: container.attrs["State"] for container in waiting}
        assert not waiting or time.monotonic() < deadline, f"not healthy again: {states}"
        time.sleep(0.3)
    for service in runtime.services:
        while not (seen := probe(service.url + service.ready)).healthy:
            assert time.monotonic() < deadline, f"{service.name} is not ready again: {seen}"
            time.sleep(0.2)


def is_healthy_again(container: Container) -> bool:
    """Whether it runs and its own check passes; one that has ended is started."""
    container.reload()
    state = container.attrs["State"]
    if state["Status"] in {"exited", "dead"}:
        container.start()
        return False
    return bool(state["Running"] and state.get("Health", {}).get("Status", "healthy") == "healthy")


def test_every_container_is_hurt(reference: ComposeRuntime) -> None:
    """A service that is added later must be among the victims."""
    hurt = {name for names in VICTIMS.values() for name in names}
    assert {service.name for service in STACK.services} <= hurt
    running = {item.service for item in list_project(reference.engine, reference.project)}
    assert hurt == running - {"prepare"}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("victims", VICTIMS.values(), ids=VICTIMS)
def test_no_acknowledged_job_is_lost_or_done_twice(
    reference: ComposeRuntime, victims: list[str], fault: Callable[[Container], None]
) -> None:
    board = board_of(STACK, reference, f"{fault.__name__}-{victims[0]}-{time.time_ns()}")
    submit_all(board, victims[0] + fault.__name__)
    containers = [container_of(reference, name) for name in victims]
    with ThreadPoolExecutor(len(containers)) as pool:
        list(pool.map(fault, containers))
    recover(reference, containers)
    settle(board, STACK, reference)
    # Hurting what is not being worked on fails nothing.
    if victims != ["targets"]:
        assert len(board.with_status(COMPLETED)) == JOBS


@pytest.mark.parametrize("victim", [*DATABASES, "control-plane"])
def test_a_restart_during_submission_loses_and_doubles_nothing(
    reference: ComposeRuntime, victim: str
) -> None:
    """A submission whose answer was lost is asked again under its key, and is one job."""
    board = board_of(STACK, reference, f"restart-{victim}-{time.time_ns()}")
    container = container_of(reference, victim)
    restarter = threading.Timer(0.1, container.restart, kwargs={"timeout": 5})
    restarter.start()
    board.submit_all(4, lambda _count: None)
    restarter.join()
    recover(reference, [container])
    for run in board.with_status(NOT_SUBMITTED):
        board._submit(run)
    assert len(board.with_status("pending")) == JOBS
    assert len({run.job_id for run in board.runs}) == JOBS
    settle(board, STACK, reference)
