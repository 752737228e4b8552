"""A signal shows what is wrong on its way: a hop that hangs, or one that drops the trace (K2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from services.gateway import app as gateway
from services.kit import signals, tracing
from services.kit.settings import SYSTEM_SERVICES
from services.sessions import app as sessions

if TYPE_CHECKING:
    from service_protocols import Serve, SettingsFor

TRACE_ID = "0123456789abcdef" * 2


def test_the_nearest_to_a_hang_gives_up_first(
    settings_for: SettingsFor, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call waits longer than all behind it, so the answer names who was reached."""
    monkeypatch.setattr(signals, "HOP_SECONDS", 0.5)
    hanging = FastAPI(title="hanging")
    let_go = asyncio.Event()

    @hanging.post(signals.PATH)
    async def hang() -> None:
        await asyncio.wait_for(let_go.wait(), 10)

    url = serve(hanging).url
    middle = serve(sessions.build(settings_for("sessions", {"executor": url}))).url
    settings = settings_for("gateway", {"sessions": middle})
    signal = signals.Signal(route=["sessions", "executor"], hops=[])

    async def send() -> signals.SignalAnswer:
        async with asyncio.timeout(5):
            return await signals.pass_on(settings, signal)

    assert asyncio.run(send()).hops == ["gateway", "sessions"]


@pytest.mark.parametrize(("other", "status"), [("", 200), ("f" * 32, 503)])
def test_a_hop_that_starts_another_trace_is_503(
    settings_for: SettingsFor,
    serve: Serve,
    client_headers: dict[str, str],
    other: str,
    status: int,
) -> None:
    """All six were reached, but what they did can't be found under one trace id."""
    rest = FastAPI(title="rest")

    @rest.post(signals.PATH)
    async def answer(request: Request) -> dict[str, Any]:
        trace_id = other or request.headers[tracing.HEADER]
        return {"trace_id": trace_id, "hops": list(SYSTEM_SERVICES)}

    app = gateway.build(settings_for("gateway", {"model-router": serve(rest).url}))
    with TestClient(app, headers={**client_headers, tracing.HEADER: TRACE_ID}) as client:
        response = client.post("/v1/signal", json={})
    assert response.status_code == status
    assert response.json().get("error", {}).get("code") == ("other_trace" if other else None)
