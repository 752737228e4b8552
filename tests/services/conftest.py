"""Services under test run for real: prepared state, real tokens, a server on a free port.

A module with `BACKENDS = BOTH` runs its tests over the embedded databases and, marked
`docker`, over PostgreSQL and Redis.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
import traceback
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import uvicorn
from service_backends import Backend
from service_protocols import START_SECONDS, Served, System
from service_servers import Servers, running_servers
from service_tokens import json_content, sign

from services import prepare
from services.kit.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from service_protocols import Eventually, Serve, ServiceToken, SettingsFor
    from starlette.applications import Starlette

    from services.kit.settings import Settings

CLIENT_TOKEN = "client-token-of-the-tests-0123456789"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Double the tests of modules that ask for both back ends, but those that name theirs."""
    names = getattr(metafunc.module, "BACKENDS", ())
    named = (mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if names and "backend" in metafunc.fixturenames and "backend" not in named:
        marks = {"servers": pytest.mark.docker}
        params = [pytest.param(name, marks=marks.get(name, ())) for name in names]
        metafunc.parametrize("backend", params, indirect=True)


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder made once by `services.prepare`; tests get a copy."""
    folder = tmp_path_factory.mktemp("prepared") / "state"
    assert prepare.main({"STATE_FOLDER": str(folder), "CLIENT_TOKEN": CLIENT_TOKEN}) == 0
    return folder


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """PostgreSQL and Redis for the whole test run."""
    with running_servers() as servers:
        yield servers


@pytest.fixture(scope="session")
def template_database(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with the newest tables, of which tests get copies."""
    servers.administer("CREATE DATABASE prepared")
    folder = tmp_path_factory.mktemp("servers") / "state"
    environ = {"STATE_FOLDER": str(folder), "CLIENT_TOKEN": CLIENT_TOKEN}
    assert prepare.main({**environ, **servers.environ("prepared")}) == 0
    return "prepared"


@pytest.fixture
def backend(request: pytest.FixtureRequest, state_folder: Path) -> Iterator[Backend]:
    """Where this test's services keep their data."""
    environ = {"STATE_FOLDER": str(state_folder), "CLIENT_TOKEN": CLIENT_TOKEN}
    if getattr(request, "param", "embedded") == "embedded":
        yield Backend(environ)
        return
    servers: Servers = request.getfixturevalue("servers")
    template = request.getfixturevalue("template_database")
    with servers.own_database(template) as name:
        servers.command("FLUSHALL")
        yield Backend({**environ, **servers.environ(name)}, servers)


@pytest.fixture
def state_folder(prepared_folder: Path, tmp_path: Path) -> Path:
    """A prepared state folder of the test's own, with empty tables."""
    return shutil.copytree(prepared_folder, tmp_path / "state")


@pytest.fixture
def settings_for(backend: Backend) -> SettingsFor:
    """Makes settings over the test's state folder and back end."""

    def make(service: str, urls: Mapping[str, str] | None = None, **changes: object) -> Settings:
        settings = backend.settings(service)
        return replace(settings, urls={**settings.urls, **(urls or {})}, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def opened(backend: Backend) -> Iterator[Callable[[str], Database]]:
    """Opens a service's database anew each time, as another process would."""
    databases: list[Database] = []

    def make(service: str) -> Database:
        databases.append(Database(backend.settings(service).database_url, service))
        return databases[-1]

    yield make
    for database in databases:
        database.close()


@pytest.fixture
def service_token(state_folder: Path) -> ServiceToken:
    """Signs with the real keys of the test's state folder."""

    def issue(caller: str, audience: str, method: str, path: str, body: object = None) -> str:
        content = body if isinstance(body, bytes) else json_content(body)
        return sign(state_folder / "keys", caller, audience, method, path, content=content)

    return issue


@pytest.fixture
def client_headers() -> dict[str, str]:
    """What a client of the public API sends."""
    return {"Authorization": f"Bearer {CLIENT_TOKEN}"}


@pytest.fixture
def eventually() -> Eventually:
    """Waits for what happens in the background; the time only bounds a broken test."""
    return _wait_until


@pytest.fixture
def set_lease(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how many seconds a lease lasts, in queues of both kinds."""

    def change(seconds: float) -> None:
        for kind in ("sqlite", "redis"):
            monkeypatch.setattr(f"services.queue.{kind}.LEASE_SECONDS", seconds)

    return change


@pytest.fixture
def system(settings_for: SettingsFor, serve: Serve, client_headers: dict[str, str]) -> System:
    """The executor's neighbours, for real, and a target that they may fetch."""
    from services.control_plane import app as control_plane
    from services.memory_engine import app as memory_engine
    from services.targets import app as targets

    memory = serve(memory_engine.build(settings_for("memory-engine")))
    control = serve(control_plane.build(settings_for("control-plane")))
    target = serve(targets.build(settings_for("targets"))).url
    settings = settings_for(
        "executor",
        {"memory-engine": memory.url, "control-plane": control.url},
        allowed_hosts=(target.removeprefix("http://"),),
    )
    return System(memory, control, target, settings, client_headers)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Runs apps on free loopback ports until the test ends."""
    running: list[Served] = []

    def start(app: Starlette, port: int = 0) -> Served:
        served = _start(app, port)
        running.append(served)
        return served

    yield start
    with ExitStack() as stops:  # all are stopped, also after one that did not
        for served in running:
            stops.callback(served.stop)


def _start(app: Starlette, port: int) -> Served:
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, ws="none", log_config=None, access_log=False
    )
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    _wait_until(lambda: server.started or not thread.is_alive())
    assert server.started, "the app did not start"
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    def stop() -> None:
        server.should_exit = True
        thread.join(START_SECONDS)
        if thread.is_alive():
            last = traceback.format_stack(sys._current_frames()[thread.ident or 0])[-3:]
            raise AssertionError(f"{config.app} did not stop: {''.join(last)}")

    return Served(url, app, stop)


def _wait_until(met: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.01)
