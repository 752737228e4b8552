"""The gateway: passes on what is the client's business, and says 503 for the rest."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient

from services.gateway.app import build
from services.kit.settings import SYSTEM_SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service_protocols import Serve, ServiceToken, SettingsFor

NEIGHBOURS = SYSTEM_SERVICES[1:]
TRACE_ID = "0123456789abcdef" * 2


@pytest.fixture
def urls(settings_for: SettingsFor, serve: Serve) -> dict[str, str]:
    """All neighbours of the gateway, for real, knowing each other's ports."""
    found: dict[str, str] = {}
    found["site"] = serve(_site()).url
    host = found["site"].removeprefix("http://")
    for name in reversed(NEIGHBOURS):
        module = importlib.import_module(f"services.{name.replace('-', '_')}.app")
        found[name] = serve(module.build(settings_for(name, found, allowed_hosts=(host,)))).url
    return found


def _site() -> FastAPI:
    """The outside world: a page, and one that leads to where nobody may go."""
    site = FastAPI(title="site")

    @site.get("/page")
    async def page() -> Response:
        return Response("a page", media_type="text/plain")

    @site.get("/away")
    async def away() -> Response:
        return Response(status_code=302, headers={"Location": "http://127.0.0.1:7020/healthz"})

    return site


@pytest.fixture
def gateway(
    settings_for: SettingsFor, urls: dict[str, str], client_headers: dict[str, str]
) -> Iterator[TestClient]:
    with TestClient(build(settings_for("gateway", urls)), headers=client_headers) as client:
        yield client


@pytest.fixture
def alone(
    settings_for: SettingsFor, client_headers: dict[str, str]
) -> Iterator[Callable[..., TestClient]]:
    """`alone(url)`: a gateway all of whose neighbours are at one URL; by default nobody is."""
    opened: list[TestClient] = []

    def make(url: str = "http://127.0.0.1:9") -> TestClient:
        settings = settings_for("gateway", dict.fromkeys(NEIGHBOURS, url))
        opened.append(TestClient(build(settings), headers=client_headers).__enter__())
        return opened[-1]

    yield make
    for client in opened:
        client.__exit__(None, None, None)


def events(response: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in response.text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


# --- chat ----------------------------------------------------------------------------------


def test_chat_streams_tokens_and_then_done(gateway: TestClient) -> None:
    body = {"message": "Say something about proof.", "seed": 42}
    response = gateway.post("/v1/chat", json=body, headers={"X-Trace-Id": TRACE_ID})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    *tokens, (last, done) = events(response)
    assert {name for name, _ in tokens} == {"token"}
    assert last == "done"
    assert (done["provider"], done["trace_id"]) == ("primary", TRACE_ID)
    assert done["usage"]["completion_tokens"] == len(tokens)
    assert events(gateway.post("/v1/chat", json=body))[:-1] == tokens


def test_a_used_up_quota_is_a_plain_429(
    gateway: TestClient, urls: dict[str, str], service_token: ServiceToken
) -> None:
    caps = {"tokens_per_day": 0, "cost_per_month": 0.0}
    path = "/v1/quotas/tight"
    token = service_token("control-plane", "model-router", "PUT", path, caps)
    headers = {"X-Service-Token": token}
    httpx.put(urls["model-router"] + path, json=caps, headers=headers).raise_for_status()
    response = gateway.post("/v1/chat", json={"message": "a", "workspace": "tight"})
    assert (response.status_code, response.json()["error"]["code"]) == (429, "quota_exceeded")


@pytest.mark.parametrize(
    "lines",
    [
        "",
        '{"type":"token","text":"half"}\n',
        '{"type":"token","text":"half"}\n{"type":"do',
        '{"type":"token","text":"half"}\nnot json\n',
        '{"type":"token","text":"half"}\n{"type":"done"}\n',
        '{"type":"surprise"}\n',
    ],
)
def test_a_stream_that_breaks_off_ends_with_an_error_event(
    serve: Serve, alone: Callable[..., TestClient], lines: str
) -> None:
    fake = FastAPI(title="fake")

    @fake.post("/v1/completions")
    async def stream() -> StreamingResponse:
        return StreamingResponse(iter([lines]), media_type="application/x-ndjson")

    response = alone(serve(fake).url).post("/v1/chat", json={"message": "a"})
    assert response.status_code == 200
    names = [name for name, _ in events(response)]
    assert names[-1] == "error"
    assert "done" not in names
    assert events(response)[-1][1]["error"]["code"] == "unavailable"


def test_a_connection_that_is_cut_ends_with_an_error_event(
    serve: Serve, alone: Callable[..., TestClient]
) -> None:
    fake = FastAPI(title="fake")

    @fake.post("/v1/completions")
    async def stream() -> StreamingResponse:
        # Promises more than it sends: to the reader, the neighbour died on the way.
        line = '{"type":"token","text":"half"}\n'
        return StreamingResponse(iter([line]), headers={"Content-Length": "1000"})

    response = alone(serve(fake).url).post("/v1/chat", json={"message": "a"})
    assert [name for name, _ in events(response)] == ["token", "error"]


# --- neighbours that are down, or answer wrongly -------------------------------------------

CALLS = [
    ("POST", "/v1/chat", {"message": "a"}),
    ("POST", "/v1/action", {"tool": "shell", "arguments": {"argv": ["echo"]}}),
    ("POST", "/v1/signal", {}),
    ("POST", "/v1/sessions", {"ttl_seconds": 60}),
    ("GET", f"/v1/sessions/{'0' * 32}", None),
    ("DELETE", f"/v1/sessions/{'0' * 32}", None),
    ("POST", f"/v1/sessions/{'0' * 32}/heartbeat", None),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_a_neighbour_that_is_down_is_503_in_the_one_shape(
    alone: Callable[..., TestClient], method: str, path: str, body: object
) -> None:
    response = alone().request(method, path, json=body)
    assert response.status_code == 503
    assert set(response.json()["error"]) == {"code", "message", "trace_id"}
    assert "Traceback" not in response.text


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 403, 418, 429, 500, 502])
def test_a_neighbour_that_talks_nonsense_is_503_or_an_error_event(
    serve: Serve, alone: Callable[..., TestClient], status: int
) -> None:
    fake = FastAPI(title="fake")

    @fake.api_route("/{anything:path}", methods=["GET", "POST", "DELETE"])
    async def nonsense(anything: str) -> Response:
        return Response(None if status == 204 else f"secret of {anything}", status)

    gateway = alone(serve(fake).url)
    for method, path, body in CALLS:
        response = gateway.request(method, path, json=body)
        assert "secret" not in response.text
        if path == "/v1/chat" and status < 300:
            assert [name for name, _ in events(response)] == ["error"]
        else:
            assert (response.status_code, path) == (503, path)


def test_every_operation_needs_the_client_token(alone: Callable[..., TestClient]) -> None:
    client = alone()
    for method, path, body in CALLS:
        for value in ("", "Bearer", "Bearer wrong", "Basic YTpi"):
            response = client.request(method, path, json=body, headers={"Authorization": value})
            assert (response.status_code, value) == (401, value)


# --- actions, sessions, signals ------------------------------------------------------------


def test_an_allowed_action_runs(gateway: TestClient) -> None:
    body = {"tool": "shell", "arguments": {"argv": ["echo", "proof"]}}
    response = gateway.post("/v1/action", json=body)
    assert response.status_code == 200
    assert (response.json()["outcome"], response.json()["output"]) == ("completed", "proof\n")


DENIED: list[tuple[str, dict[str, object]]] = [
    ("shell", {"argv": ["rm", "-rf", "/"]}),
    ("python", {"code": "1"}),
    ("file", {"operation": "read", "path": "../keys/executor.pem"}),
    ("file", {"operation": "read", "path": "../keys/private/executor/signing.pem"}),
    ("file", {"operation": "read", "path": "../keys/public/executor.json"}),
    ("browser", {"url": "http://169.254.169.254/latest/meta-data/"}),
    ("browser", {"url": "file:///etc/passwd"}),
    ("browser", {"url": "http://127.0.0.1:7020/v1/documents/a"}),
]


def test_what_is_not_listed_is_denied_with_a_reason(gateway: TestClient) -> None:
    """G3b: the executor decides; its 403 and its reason reach the client."""
    for tool, arguments in DENIED:
        response = gateway.post("/v1/action", json={"tool": tool, "arguments": arguments})
        assert (response.status_code, tool) == (403, tool)
        error = response.json()["error"]
        assert error["code"] == "policy_denied"
        assert error["message"]


def test_arguments_of_the_wrong_form_are_422(gateway: TestClient) -> None:
    wrong: tuple[dict[str, object], ...] = (
        {}, {"argv": "echo proof"}, {"argv": []}, {"argv": ["echo"], "shell": True},
    )  # fmt: skip
    for arguments in wrong:
        response = gateway.post("/v1/action", json={"tool": "shell", "arguments": arguments})
        assert (response.status_code, arguments) == (422, arguments)


def test_a_file_goes_through_the_sandbox(gateway: TestClient) -> None:
    def file(**arguments: str) -> Any:
        return gateway.post("/v1/action", json={"tool": "file", "arguments": arguments})

    assert file(operation="read", path="note.txt").status_code == 404
    assert file(operation="write", path="note.txt", content="kept").status_code == 200
    assert file(operation="read", path="note.txt").json()["output"] == "kept"


def test_an_allowed_page_is_fetched_and_a_redirect_elsewhere_denied(
    gateway: TestClient, urls: dict[str, str]
) -> None:
    def browse(path: str) -> Any:
        body = {"tool": "browser", "arguments": {"url": urls["site"] + path}}
        return gateway.post("/v1/action", json=body)

    page = browse("/page").json()
    assert (page["outcome"], page["output"], page["http_status"]) == ("completed", "a page", 200)
    assert browse("/none").json()["outcome"] == "failed"
    denied = browse("/away")
    assert (denied.status_code, denied.json()["error"]["code"]) == (403, "policy_denied")
    assert "redirected" in denied.json()["error"]["message"]


def test_a_session_lives_and_ends_through_the_gateway(gateway: TestClient) -> None:
    made = gateway.post("/v1/sessions", json={"ttl_seconds": 60})
    assert (made.status_code, made.json()["state"]) == (201, "active")
    path = f"/v1/sessions/{made.json()['id']}"
    assert gateway.post(f"{path}/heartbeat").json()["state"] == "active"
    assert gateway.get(path).json()["state"] == "active"
    assert gateway.delete(path).json()["state"] == "destroyed"
    assert gateway.post(f"{path}/heartbeat").status_code == 409
    assert gateway.get(f"/v1/sessions/{'0' * 32}").status_code == 404


def test_a_path_that_is_no_session_id_never_leaves_the_gateway(
    alone: Callable[..., TestClient],
) -> None:
    for name in ("..%2f..%2fmetrics", "x", "0" * 33, "0" * 31 + "%0a"):
        assert alone().get(f"/v1/sessions/{name}").status_code in {404, 422}


def test_a_signal_passes_all_six_under_the_callers_trace_id(gateway: TestClient) -> None:
    response = gateway.post("/v1/signal", json={}, headers={"X-Trace-Id": TRACE_ID})
    assert response.json() == {"trace_id": TRACE_ID, "hops": list(SYSTEM_SERVICES)}


def test_a_signal_that_misses_a_hop_is_503_with_the_hops_reached(
    alone: Callable[..., TestClient],
) -> None:
    error = alone().post("/v1/signal", json={}).json()["error"]
    assert error["code"] == "missing_hops"
    assert error["message"].endswith("no further than gateway")
