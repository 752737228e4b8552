"""Every call between services carries a service token, whichever way it is caused (G3a)."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient
from service_processes import free_port

import services
from services.kit.access import SERVICE_HEADER
from services.kit.door import OPEN_PATHS
from services.kit.settings import SYSTEM_SERVICES

if TYPE_CHECKING:
    from service_protocols import Serve, SettingsFor
    from starlette.types import ASGIApp, Receive, Scope, Send

CODE = Path(services.__file__).parent
# Who speaks HTTP: the one client of the kit, which its app closes, and the executor to targets.
CALLERS = {"kit/client.py", "kit/app.py", "executor/fetch.py"}


class Watch:
    """Stands before a service and writes down what comes: path, and how many tokens."""

    def __init__(self, app: ASGIApp, seen: list[tuple[str, int]]) -> None:
        """Watch `app`."""
        self._app = app
        self._seen = seen

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] == "http":
            name = SERVICE_HEADER.lower().encode()
            self._seen.append((scope["path"], sum(key == name for key, _ in scope["headers"])))
        await self._app(scope, receive, send)


@pytest.fixture
def seen(
    settings_for: SettingsFor,
    serve: Serve,
    client_headers: dict[str, str],
) -> list[tuple[str, int]]:
    """What comes to the five behind the gateway while everything is asked of it."""
    found: list[tuple[str, int]] = []
    ports = {name: free_port() for name in SYSTEM_SERVICES}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}

    def build(name: str) -> Any:
        module = importlib.import_module(f"services.{name.replace('-', '_')}.app")
        return module.build(settings_for(name, urls, allowed_hosts=("127.0.0.1:9",)))

    for name in SYSTEM_SERVICES[1:]:
        serve(Watch(build(name), found), ports[name])  # type: ignore[arg-type]
    with TestClient(build("gateway"), headers=client_headers) as gateway:
        assert gateway.post("/v1/chat", json={"message": "a"}).status_code == 200
        body = {"tool": "shell", "arguments": {"argv": ["echo", "a"]}}
        assert gateway.post("/v1/action", json=body).status_code == 200
        session = gateway.post("/v1/sessions", json={"ttl_seconds": 60}).json()["id"]
        assert gateway.post(f"/v1/sessions/{session}/heartbeat").status_code == 200
        assert gateway.delete(f"/v1/sessions/{session}").status_code == 200
        assert len(gateway.post("/v1/signal", json={"note": "a"}).json()["hops"]) == 6
    return found


def test_every_request_that_a_service_gets_from_another_carries_one_token(
    seen: list[tuple[str, int]],
) -> None:
    inner = [(path, tokens) for path, tokens in seen if path not in OPEN_PATHS]
    assert {tokens for _path, tokens in inner} == {1}
    paths = " ".join(path for path, _tokens in inner)
    for wanted in ("/v1/completions", "/internal/actions", "/v1/sessions", "/internal/signal"):
        assert wanted in paths


def test_nothing_but_the_signing_client_can_call_a_neighbour() -> None:
    """A call past it would be refused; this says where, before it happens."""
    speaks = re.compile(r"AsyncClient\(|shared_client\(\)|HTTPConnection|urlopen|httpx\.[a-z]+\(")
    found = {
        path.relative_to(CODE).as_posix()
        for path in CODE.rglob("*.py")
        if speaks.search(path.read_text("utf-8"))
    }
    assert found == CALLERS
