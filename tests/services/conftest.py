"""Services under test run for real: prepared state, real tokens, a server on a free port."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import uvicorn
from service_protocols import START_SECONDS, Served, System

from services import prepare
from services.kit.keys import read_private_key
from services.kit.settings import Settings
from services.kit.tokens import TokenSigner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from service_protocols import Eventually, Serve, ServiceToken, SettingsFor
    from starlette.applications import Starlette

CLIENT_TOKEN = "client-token-of-the-tests-0123456789"


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder made once by `services.prepare`; tests get a copy."""
    folder = tmp_path_factory.mktemp("prepared") / "state"
    assert prepare.main({"STATE_FOLDER": str(folder), "CLIENT_TOKEN": CLIENT_TOKEN}) == 0
    return folder


@pytest.fixture
def state_folder(prepared_folder: Path, tmp_path: Path) -> Path:
    """A prepared state folder of the test's own, with empty tables."""
    return shutil.copytree(prepared_folder, tmp_path / "state")


@pytest.fixture
def settings_for(state_folder: Path) -> SettingsFor:
    """Makes settings over the test's state folder."""

    def make(service: str, urls: Mapping[str, str] | None = None, **changes: object) -> Settings:
        environ = {"STATE_FOLDER": str(state_folder), "CLIENT_TOKEN": CLIENT_TOKEN}
        settings = Settings.from_environment(service, environ)
        return replace(settings, urls={**settings.urls, **(urls or {})}, **changes)  # type: ignore[arg-type]

    return make


@pytest.fixture
def service_token(state_folder: Path) -> ServiceToken:
    """Signs with the real keys of the test's state folder."""

    def issue(caller: str, audience: str, method: str, path: str) -> str:
        pem = read_private_key(state_folder / "keys", caller)
        return TokenSigner(caller, pem).issue(audience, method, path)

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
    for served in reversed(running):
        served.stop()


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
        assert not thread.is_alive(), "the app did not stop"

    return Served(url, app, stop)


def _wait_until(met: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "the condition was not met in time"
        time.sleep(0.01)
