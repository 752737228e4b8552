"""Workspaces, simulations and audit bundles: reproducible, signed, checked (C2, C3, C9)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from service_backends import BOTH

from services.control_plane.app import build
from services.control_plane.montecarlo import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service_backends import Backend
    from service_protocols import Serve, SettingsFor

BACKENDS = BOTH
JOB = {
    "kind": "fetch",
    "strategy": "stealth",
    "priority": "high",
    "target": "http://127.0.0.1:7060/plain/",
    "sequence": 7,
}


@pytest.fixture
def client(
    settings_for: SettingsFor, serve: Serve, client_headers: dict[str, str]
) -> Iterator[httpx.Client]:
    url = serve(build(settings_for("control-plane"))).url
    with httpx.Client(base_url=url, headers=client_headers, trust_env=False) as client:
        yield client


def make_workspace(client: httpx.Client) -> str:
    return str(client.post("/api/v1/workspaces", json={"name": "one"}).json()["id"])


def test_a_dry_run_creates_nothing(client: httpx.Client, backend: Backend) -> None:
    """C9."""
    response = client.post("/api/v1/workspaces", json={"name": "one", "dry_run": True})
    assert (response.status_code, response.json()["id"]) == (200, None)
    assert backend.sql("control-plane", "SELECT count(*) FROM workspaces") == [(0,)]


def test_a_deleted_workspace_takes_nothing_more(client: httpx.Client) -> None:
    workspace_id = make_workspace(client)
    path = f"/api/v1/workspaces/{workspace_id}"
    assert client.get(path).json()["name"] == "one"
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == client.delete(path).status_code == 404
    body = {**JOB, "workspace_id": workspace_id}
    assert client.post("/api/v1/jobs", json=body).status_code == 404


def test_the_same_seed_gives_the_same_report(client: httpx.Client) -> None:
    """C2."""
    body = {"workspace_id": make_workspace(client), "seed": 42, "iterations": 200}
    first, again = (client.post("/api/v1/simulations", json=body).json() for _ in range(2))
    assert first["id"] != again["id"]
    assert first["report"] == again["report"]
    assert client.get(f"/api/v1/simulations/{first['id']}").json() == first
    other = client.post("/api/v1/simulations", json={**body, "seed": 43}).json()
    assert other["report"] != first["report"]


def test_every_simulated_run_ends_in_one_way() -> None:
    report: Any = simulate(7, 500)
    ended = sum(report["failures"].values()) + sum(report["denials"].values())
    assert ended + report["completed"] == report["iterations"] == 500


def test_simulations_and_bundles_need_a_workspace(client: httpx.Client) -> None:
    body = {"workspace_id": "none", "seed": 1}
    assert client.post("/api/v1/simulations", json=body).status_code == 404
    response = client.post("/api/v1/audit-bundles", json={"workspace_id": "none"})
    assert response.status_code == 404
    assert client.get("/api/v1/simulations/none").status_code == 404
    assert client.get("/api/v1/audit-bundles/none/verify").status_code == 404


def make_bundle(client: httpx.Client) -> dict[str, Any]:
    workspace_id = make_workspace(client)
    client.post("/api/v1/jobs", json={**JOB, "workspace_id": workspace_id})
    client.post(
        "/api/v1/simulations", json={"workspace_id": workspace_id, "seed": 1, "iterations": 10}
    )
    response = client.post("/api/v1/audit-bundles", json={"workspace_id": workspace_id})
    assert response.status_code == 201
    bundle: dict[str, Any] = response.json()
    return bundle


def test_an_audit_bundle_holds_the_workspace_and_verifies(client: httpx.Client) -> None:
    """C3."""
    bundle = make_bundle(client)
    content = json.loads(bundle["content"])
    assert (len(content["jobs"]), len(content["simulations"])) == (1, 1)
    path = f"/api/v1/audit-bundles/{bundle['id']}"
    assert client.get(path).json() == bundle
    assert client.get(f"{path}/verify").json() == {"verified": True}


@pytest.mark.parametrize(
    "change",
    [
        "content = replace(content, 'stealth', 'vanilla')",
        "signature = replace(signature, substr(signature, 1, 2), 'zz')",
        "signature = ''",
        "sha256 = replace(sha256, substr(sha256, 1, 1), 'x')",
        "bundle_id = 'bundle-other'",
    ],
)
def test_a_changed_audit_bundle_does_not_verify(
    client: httpx.Client, backend: Backend, change: str
) -> None:
    make_bundle(client)
    backend.sql("control-plane", f"UPDATE audit_bundles SET {change}")  # noqa: S608 - from the list above
    ((bundle_id,),) = backend.sql("control-plane", "SELECT bundle_id FROM audit_bundles")
    response = client.get(f"/api/v1/audit-bundles/{bundle_id}/verify")
    assert response.json() == {"verified": False}
