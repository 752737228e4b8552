"""Gives an app its tools: the policy, the sandbox folder, and what both say of themselves."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from prometheus_client import Gauge

from services.executor.policy.store import PolicyStore
from services.executor.tools import selfcheck
from services.executor.tools.decisions import Decisions
from services.executor.tools.sandbox import Sandbox
from services.kit.logs import log, warn
from services.kit.settings import Settings


class PolicyNotReadyError(Exception):
    """Every action is denied, so the executor can't do its business."""


def install(app: FastAPI, settings: Settings, store: PolicyStore) -> None:
    """Put the tools' objects where the routes look for them."""
    registry = app.state.metrics.registry
    app.state.tool_decisions = Decisions(store, registry)
    app.state.tool_sandbox = Sandbox(settings.state_folder / "sandbox")
    app.state.tool_layers = Gauge(
        "sandbox_layer_active",
        "1 where a layer of the sandbox was tried at start, and holds.",
        ("layer",),
        registry=registry,
    )


def policy_ready(store: PolicyStore) -> Callable[[], Awaitable[None]]:
    """A readiness check: a drift, or a policy that denies everything, isn't ready."""

    async def check() -> None:
        status = await asyncio.to_thread(store.status)
        if status.state != "in force":
            raise PolicyNotReadyError(f"policy {status.state}: {status.problem}")

    return check


async def try_sandbox(app: FastAPI) -> None:
    """Try the sandbox's layers beside the start, and say what was found."""
    report = await asyncio.to_thread(selfcheck.try_layers)
    for layer in report.layers:
        app.state.tool_layers.labels(layer.name).set(layer.active)
        say = log if layer.active else warn
        stops = ", ".join(layer.stops)
        say("sandbox layer", layer=layer.name, active=layer.active, stops=stops, why=layer.detail)
