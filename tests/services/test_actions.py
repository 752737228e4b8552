"""Actions at both of their doors: free JSON is bounded, callers are known, a full disk is said."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from services.executor import app as executor
from services.gateway import app as gateway

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    from service_protocols import Serve, ServiceToken, SettingsFor

    Act = Callable[..., httpx.Response]


@pytest.fixture(params=["gateway", "executor"])
def act(
    request: pytest.FixtureRequest,
    settings_for: SettingsFor,
    serve: Serve,
    client_headers: dict[str, str],
    service_token: ServiceToken,
) -> Act:
    """Sends the bytes of an action to the public door, or to the one behind it."""
    inner = serve(executor.build(settings_for("executor")))
    outer = serve(gateway.build(settings_for("gateway", {"executor": inner.url})))

    def send(content: bytes | dict[str, Any], caller: str = "gateway") -> httpx.Response:
        import httpx

        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers = {"Content-Type": "application/json", **client_headers}
        url = f"{outer.url}/v1/action"
        if request.param == "executor":
            token = service_token(caller, "executor", "POST", "/internal/actions", body)
            headers["X-Service-Token"] = token
            url = f"{inner.url}/internal/actions"
        return httpx.post(url, content=body, headers=headers, trust_env=False)

    return send


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "arguments",
    [
        '{"argv": ["echo", "\\ud800"]}',
        '{"argv": [{"\\udfff": 1}]}',
        '{"\\ud800": 1}',
        '{"argv": NaN}',
        '{"argv": [-Infinity]}',
        '{"argv": 1e999}',
        '{"argv": ' + nested(17) + "}",
        '{"argv": ' + nested(260) + "}",
        '{"argv": ' + nested(900) + "}",
        '{"argv": ' + nested(100_000) + "}",
        '{"argv": ' + "9" * 4200 + "}",
        '{"argv": ' + "9" * 5000 + "}",
        json.dumps({str(number): 1 for number in range(17)}),
    ],
    ids=lambda text: text[:24],
)
def test_arguments_that_cannot_be_sent_on_are_422(act: Act, arguments: str) -> None:
    answer = act(b'{"tool": "shell", "arguments": ' + arguments.encode() + b"}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("text", ["é", "\U0001f600", "\u0000", "\ud83d\ude00", "\\"])
def test_any_other_text_reaches_the_policy(act: Act, text: str) -> None:
    body = {"tool": "unheard-of", "arguments": {text: [{"deep": [text, 1.5, None, True]}]}}
    assert act(body).status_code == 403


def test_a_full_disk_is_503(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    arguments = {"operation": "write", "path": "a.txt", "content": "x"}
    answer = act({"tool": "file", "arguments": arguments})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert "disk is full" in answer.json()["error"]["message"]


def test_another_failure_of_the_disk_is_a_bug(
    settings_for: SettingsFor, service_token: ServiceToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_kwargs: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "replace", broken)
    arguments = {"operation": "write", "path": "a.txt", "content": "x"}
    body = {"tool": "file", "arguments": arguments}
    with TestClient(executor.build(settings_for("executor")), raise_server_exceptions=False) as app:
        token = service_token("gateway", "executor", "POST", "/internal/actions", body)
        answer = app.post("/internal/actions", json=body, headers={"X-Service-Token": token})
    assert answer.status_code == 500


@pytest.mark.parametrize("act", ["executor"], indirect=True)
@pytest.mark.parametrize("caller", ["control-plane", "sessions", "model-router", "executor"])
def test_only_the_gateway_asks_for_actions(act: Act, caller: str) -> None:
    body = {"tool": "shell", "arguments": {"argv": ["echo", "proof"]}}
    assert act(body, caller).status_code == 403
    assert act(body).json()["output"] == "proof\n"
