"""What every service has: health, metrics, one error shape, a trace id, guarded routes."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import TYPE_CHECKING, Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends

from services.kit import logs, tracing
from services.kit.access import require_caller, require_client, require_only, require_service
from services.kit.app import create_app
from services.kit.client import ServiceClient
from services.kit.errors import ServiceError
from services.kit.middleware import BODY_LIMIT_BYTES
from services.kit.models import RequestModel, ShortText

if TYPE_CHECKING:
    from fastapi import FastAPI
    from service_protocols import Serve, ServiceToken, SettingsFor

    from services.kit.settings import Settings

TRACE_ID = "0123456789abcdef" * 2


class Note(RequestModel):
    """A body to be refused or taken."""

    text: ShortText


async def broken_check() -> None:
    raise RuntimeError("secret detail")


def build(settings: Settings, *, ready: bool = True) -> FastAPI:
    router = APIRouter()

    @router.get("/client")
    def client_only(caller: Annotated[str, Depends(require_client)]) -> str:
        return caller

    @router.get("/service")
    def service_only(caller: Annotated[str, Depends(require_service)]) -> str:
        return caller

    @router.get("/either")
    def either(caller: Annotated[str, Depends(require_caller)]) -> str:
        return caller

    @router.get("/executor")
    def executor_only(caller: Annotated[str, Depends(require_only("executor"))]) -> str:
        return caller

    @router.get("/items/{item}")
    def broken(item: str) -> str:
        raise RuntimeError(f"internal detail {item}")

    @router.post("/notes")
    def take(note: Note) -> str:
        return note.text

    checks = {} if ready else {"store": broken_check}
    return create_app(
        settings, title="test", description="A test.", routers=[router], ready_checks=checks
    )


@pytest.fixture
def url(settings_for: SettingsFor, serve: Serve) -> str:
    return serve(build(settings_for("sessions"))).url


def get(url: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.get(url, headers=headers, trust_env=False)


def error_of(response: httpx.Response) -> dict[str, str]:
    error: dict[str, str] = response.json()["error"]
    assert set(error) == {"code", "message", "trace_id"}
    assert error["trace_id"] == response.headers[tracing.HEADER]
    return error


def test_health_names_the_service(url: str) -> None:
    assert get(f"{url}/healthz").json() == {"status": "ok", "service": "sessions"}
    assert get(f"{url}/readyz").json() == {
        "status": "ready",
        "checks": {"service-tokens": "passed"},
    }


def test_a_failed_check_makes_the_service_not_ready(
    settings_for: SettingsFor, serve: Serve
) -> None:
    response = get(serve(build(settings_for("sessions"), ready=False)).url + "/readyz")
    assert response.status_code == 503
    assert response.json() == {
        "status": "not ready",
        "checks": {"store": "failed", "service-tokens": "passed"},
    }


def test_the_trace_id_of_the_caller_is_kept(url: str) -> None:
    assert get(f"{url}/healthz", {tracing.HEADER: TRACE_ID}).headers[tracing.HEADER] == TRACE_ID


@pytest.mark.parametrize("odd", ["", "short", "G" * 32, TRACE_ID.upper(), TRACE_ID + "0"])
def test_an_odd_trace_id_is_replaced(url: str, odd: str) -> None:
    given = get(f"{url}/healthz", {tracing.HEADER: odd}).headers[tracing.HEADER]
    assert given != odd
    assert len(given) == 32


def test_an_unknown_path_and_method_have_the_error_shape(url: str) -> None:
    assert error_of(get(f"{url}/nowhere"))["code"] == "not_found"
    assert error_of(httpx.delete(f"{url}/client", trust_env=False))["code"] == "method_not_allowed"


def test_a_bug_is_500_and_leaks_nothing(url: str) -> None:
    response = get(f"{url}/items/7")
    assert response.status_code == 500
    assert error_of(response)["code"] == "internal_error"
    assert "internal detail" not in response.text
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"text": 5}',
        b'{"text": "\\u0000"}',
        b'{"text": "\\ud800"}',
        b'{"text": "x", "more": 1}',
        b'{"text": "x", "\\ud800": 1}',
        b'{"text": ' + b"9" * 5000 + b"}",
    ],
)
def test_an_invalid_body_is_422(url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    response = httpx.post(f"{url}/notes", content=body, headers=headers, trust_env=False)
    assert response.status_code == 422
    assert error_of(response)["code"] == "invalid_request"


def test_a_huge_body_is_413_also_without_a_length(url: str) -> None:
    block = b"x" * (BODY_LIMIT_BYTES // 8)
    headers = {"Content-Type": "application/json"}
    response = httpx.post(
        f"{url}/notes", content=(block for _ in range(9)), headers=headers, trust_env=False
    )
    assert response.status_code == 413
    response = httpx.post(f"{url}/notes", content=block * 9, headers=headers, trust_env=False)
    assert response.status_code == 413


def test_a_length_and_chunks_at_once_are_400_and_the_connection_ends(url: str) -> None:
    """RFC 9112, 6.3: another parser in front would see two messages."""
    smuggled = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST /healthz HTTP/1.1\r\nHost: x\r\n"
    both = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    port = httpx.URL(url).port or 0
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head + both + smuggled)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("path", ["/healthz", "/client", "/none"])
def test_no_cache_keeps_an_answer(url: str, path: str) -> None:
    assert httpx.get(url + path).headers["Cache-Control"] == "no-store"


def test_metrics_count_by_route_template(url: str) -> None:
    for item in ("1", "2"):
        get(f"{url}/items/{item}")
    text = get(f"{url}/metrics").text
    wanted = 'http_requests_total{method="GET",route="/items/{item}",status="500"} 2.0'
    assert wanted in text
    assert 'http_request_duration_seconds_bucket{le="0.4"' in text


def test_the_client_token_opens_client_routes_only(
    url: str, client_headers: dict[str, str]
) -> None:
    assert get(f"{url}/client", client_headers).json() == "client"
    assert get(f"{url}/either", client_headers).json() == "client"
    assert get(f"{url}/service", client_headers).status_code == 401


@pytest.mark.parametrize("header", ["Bearer wrong", "Bearer", "Basic abc", "Bearer é"])
def test_a_wrong_client_token_is_401(url: str, header: str) -> None:
    response = httpx.get(
        f"{url}/client", headers=[(b"Authorization", header.encode("latin-1"))], trust_env=False
    )
    assert response.status_code == 401
    assert error_of(response)["code"] == "unauthorised"


def test_a_service_token_opens_service_routes_once(url: str, service_token: ServiceToken) -> None:
    headers = {"X-Service-Token": service_token("gateway", "sessions", "GET", "/service")}
    assert get(f"{url}/service", headers).json() == "gateway"
    assert get(f"{url}/service", headers).status_code == 401
    assert get(f"{url}/client", headers).status_code == 401


def test_a_bad_service_token_is_not_saved_by_a_client_token(
    url: str, client_headers: dict[str, str]
) -> None:
    headers = {**client_headers, "X-Service-Token": "bad"}
    assert get(f"{url}/either", headers).status_code == 401


def test_a_route_for_one_service_is_403_for_the_others(
    url: str, service_token: ServiceToken
) -> None:
    for caller, wanted in (("executor", 200), ("gateway", 403)):
        token = service_token(caller, "sessions", "GET", "/executor")
        assert get(f"{url}/executor", {"X-Service-Token": token}).status_code == wanted


def test_a_signal_passes_on_under_one_trace_id(settings_for: SettingsFor, serve: Serve) -> None:
    """K2: every service adds its name."""
    last = serve(build(settings_for("executor")))
    first = serve(build(settings_for("sessions", {"executor": last.url})))
    settings = settings_for("gateway", {"sessions": first.url})
    answer = ask_signal(settings, ["executor"])
    assert answer == {"trace_id": TRACE_ID, "hops": ["gateway", "sessions", "executor"]}


def test_a_missing_hop_shows(settings_for: SettingsFor, serve: Serve) -> None:
    first = serve(build(settings_for("sessions", {"executor": "http://127.0.0.1:1"})))
    answer = ask_signal(settings_for("gateway", {"sessions": first.url}), ["executor"])
    assert answer == {"trace_id": TRACE_ID, "hops": ["gateway", "sessions"]}


def ask_signal(settings: Settings, route: list[str]) -> object:
    async def ask() -> object:
        tracing.set_trace_id(TRACE_ID)
        client = ServiceClient(settings, "sessions")
        body = {"route": route, "hops": ["gateway"], "note": "test"}
        return (await client.request("POST", "/internal/signal", json=body)).json()

    return asyncio.run(ask())


def test_a_neighbour_that_is_down_is_503(settings_for: SettingsFor) -> None:
    client = ServiceClient(settings_for("gateway", {"sessions": "http://127.0.0.1:1"}), "sessions")
    with pytest.raises(ServiceError, match="sessions does not answer") as caught:
        asyncio.run(client.request("GET", "/healthz", attempts=2))
    assert caught.value.status == 503


def test_each_attempt_is_signed_afresh(settings_for: SettingsFor, serve: Serve) -> None:
    """A repeated request must not look like a replay."""
    sessions = serve(build(settings_for("sessions")))
    settings = settings_for("gateway", {"sessions": sessions.url})

    async def ask() -> list[int]:
        client = ServiceClient(settings, "sessions")
        answers = [await client.request("GET", "/service") for _ in range(2)]
        async with client.stream("GET", "/service") as streamed:
            return [answer.status_code for answer in [*answers, streamed]]

    assert asyncio.run(ask()) == [200, 200, 200]


def test_a_log_line_is_json_and_holds_no_secret() -> None:
    """G3d: no token in logs."""
    formatter = logs.JsonFormatter("gateway", ["client-secret-value"])
    record = logging.makeLogRecord({"msg": "saw client-secret-value", "levelno": logging.INFO})
    made = "eyJhbGciOiJ9.eyJpc3MiOiJ9.c2ln"
    record.fields = {"header": "Bearer abcdef", "token": made, "n": 1}
    line = json.loads(formatter.format(record))
    assert line["service"] == "gateway"
    assert line["event"] == "saw [redacted]"
    assert line["fields"] == {"header": "Bearer [redacted]", "token": "[redacted]", "n": 1}
