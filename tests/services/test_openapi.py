"""The six OpenAPI descriptions hold: no 5xx, answers as described, and no door left open."""

from __future__ import annotations

import importlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok
from schemathesis.generation.modes import GenerationMode
from service_backends import BOTH
from service_tokens import sign

from services.kit.settings import SYSTEM_SERVICES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx
    from fastapi import FastAPI
    from schemathesis import Case
    from schemathesis.schemas import APIOperation
    from service_protocols import Serve, SettingsFor

BACKENDS = BOTH
EXAMPLES = 10
OPEN_PATHS = {"/healthz", "/readyz", "/metrics"}
CLIENT, SERVICE = "ClientToken", "ServiceToken"
# Doors that open to one service alone; the executor is let in at all others.
CALLERS = {"/v1/quotas/": "control-plane", "/internal/actions": "gateway"}
WRONG_TOKENS = (
    "missing", "garbage", "expired", "from-the-future", "wrong-audience", "wrong-path",
    "wrong-method", "wrong-query", "wrong-body", "unknown-caller", "other-services-key",
    "unsigned",
)  # fmt: skip
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/service-tokens.md"

load_all_checks()


@schemathesis.serializer("application/x-tar")
def _archive(_context: object, value: object) -> bytes:
    """An archive is bytes, whatever was generated for it."""
    return value if isinstance(value, bytes) else str(value).encode()


CONFORMANCE: list[Any] = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)


@dataclass(frozen=True)
class Running:
    """One of the six in this process, and the means to call it."""

    name: str
    app: FastAPI
    client: TestClient
    keys: Path
    client_token: dict[str, str]

    def sign(self, method: str, path: str, **changes: Any) -> str:
        """A token of a neighbour; `changes`: caller, audience, key (whose), at (when), content."""
        caller, at = changes.get("caller", "control-plane"), changes.get("at", time.time())
        return sign(
            self.keys,
            caller,
            changes.get("audience", self.name),
            method,
            path,
            content=changes.get("content", b""),
            key=changes.get("key", ""),
            clock=lambda: at,
        )

    def send(self, arguments: dict[str, Any], security: set[str]) -> httpx.Response:
        """A request that is let in: with the client's token where it is taken, else signed."""
        request = self.client.build_request(**arguments)
        if CLIENT in security:
            request.headers.update(self.client_token)
        else:
            target, content = request.url.raw_path.decode("ascii"), request.read()
            caller = next((who for part, who in CALLERS.items() if part in target), "executor")
            token = self.sign(request.method, target, caller=caller, content=content)
            request.headers["X-Service-Token"] = token
        answer: httpx.Response = self.client.send(request)
        return answer


def build(name: str) -> Callable[..., FastAPI]:
    module = importlib.import_module(f"services.{name.replace('-', '_')}.app")
    found: Callable[..., FastAPI] = module.build
    return found


@pytest.fixture(params=SYSTEM_SERVICES)
def running(
    request: pytest.FixtureRequest,
    settings_for: SettingsFor,
    serve: Serve,
    client_headers: dict[str, str],
) -> Iterator[Running]:
    """Each of the six; only the gateway gets neighbours, because it is nothing without."""
    urls = dict.fromkeys(SYSTEM_SERVICES, "http://127.0.0.1:9")
    if request.param == "gateway":
        for name in reversed(SYSTEM_SERVICES[1:]):
            urls[name] = serve(build(name)(settings_for(name, urls))).url
    made = settings_for(request.param, urls)
    app = build(request.param)(made)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield Running(request.param, app, client, made.keys_folder, client_headers)


def operations(app: FastAPI) -> list[tuple[str, str, set[str]]]:
    """Method, path and accepted kinds of token of every described operation."""
    found = []
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            security = {name for kind in operation.get("security", []) for name in kind}
            found.append((method.upper(), path, security))
    return found


def filled(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "0" * 32, path)


# --- schemathesis --------------------------------------------------------------------------


def _probe(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    send: Callable[[Case[Any]], Any],
) -> None:
    """Send examples of one operation and hold each answer against its description."""

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode))
    def check(case: Case[Any]) -> None:
        case.validate_response(send(case), checks=CONFORMANCE)

    check()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_answers_are_as_described_and_never_5xx(running: Running, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(running.app.openapi())
    kinds = {(method, path): security for method, path, security in operations(running.app)}
    statuses: set[int] = set()

    def send(case: Case[Any]) -> httpx.Response:
        arguments = case.as_transport_kwargs(base_url="http://testserver")
        security = kinds[(case.method.upper(), case.path)]
        arguments["headers"] = dict(arguments.get("headers") or {})
        answer = running.send(_for_httpx(arguments), security)
        statuses.add(answer.status_code)
        return answer

    for result in schema.get_all_operations():
        operation = result.ok() if isinstance(result, Ok) else None
        assert operation is not None, f"the description is broken: {result}"
        if mode is GenerationMode.POSITIVE or operation.body or operation.path_parameters:
            _probe(operation, mode, send)
    # A probe that never got past the door, or only past it, has proved nothing.
    assert statuses >= ({200} if mode is GenerationMode.POSITIVE else {422})


def _for_httpx(arguments: dict[str, Any]) -> dict[str, Any]:
    """What schemathesis prepares for requests, as httpx takes it."""
    data = arguments.pop("data", None)
    if data is not None:
        arguments["content" if isinstance(data, (bytes, str)) else "data"] = data
    known = {"method", "url", "headers", "params", "json", "content", "data", "files"}
    return {name: value for name, value in arguments.items() if name in known}


# --- the common operations, and the doors --------------------------------------------------


def test_each_service_has_the_common_operations(running: Running) -> None:
    health = running.client.get("/healthz")
    assert health.json() == {"status": "ok", "service": running.name}
    assert running.client.get("/readyz").json()["status"] == "ready"
    assert "http_requests_total" in running.client.get("/metrics").text
    described = running.client.get("/openapi.json").json()
    assert described["info"]["title"] == running.name
    assert {*OPEN_PATHS, "/internal/signal"} <= set(described["paths"])


def test_every_operation_says_which_token_it_takes(running: Running) -> None:
    for _method, path, security in operations(running.app):
        assert bool(security) == (path not in OPEN_PATHS), path


def test_no_route_is_left_out_of_the_description(running: Running) -> None:
    """What OpenAPI doesn't show, the checks of this file wouldn't see."""
    shown = {path for _method, path, _security in operations(running.app)}
    for path in ("/docs", "/redoc", "/internal", "/v1", "/api"):
        assert path in shown or running.client.get(path).status_code == 404


def test_a_wrong_token_opens_nothing(running: Running) -> None:
    doors = [
        (method, filled(path))
        for method, path, _security in operations(running.app)
        if path not in OPEN_PATHS
    ]
    assert doors
    for wrong in WRONG_TOKENS:
        for method, path in doors:
            headers = _wrong(running, wrong, method, path)
            response = running.client.request(method, path, headers=headers)
            assert (response.status_code, wrong, method, path) == (401, wrong, method, path)
            assert response.json()["error"]["code"] == "unauthorised"


def _wrong(running: Running, kind: str, method: str, path: str) -> dict[str, str]:
    if kind == "missing":
        return {}
    if kind == "garbage":
        return {"X-Service-Token": "a.b.c", "Authorization": "Bearer a.b.c"}
    if kind == "unsigned":
        return {"X-Service-Token": _unsigned(running, method, path)}
    other = "sessions" if running.name != "sessions" else "executor"
    changes: dict[str, dict[str, Any]] = {
        "expired": {"at": time.time() - 60},
        "from-the-future": {"at": time.time() + 60},
        "wrong-audience": {"audience": other},
        "wrong-path": {},
        "wrong-method": {},
        "wrong-query": {},
        "wrong-body": {"content": b"{}"},
        "unknown-caller": {"caller": "stranger", "key": "gateway"},
        "other-services-key": {"caller": "control-plane", "key": "executor"},
    }
    signed_path = path + {"wrong-path": "/other", "wrong-query": "?limit=1"}.get(kind, "")
    signed_method = "PATCH" if kind == "wrong-method" else method
    return {"X-Service-Token": running.sign(signed_method, signed_path, **changes[kind])}


def _unsigned(running: Running, method: str, path: str) -> str:
    """A good token's claims under the algorithm "none"."""
    token = running.sign(method, path)
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims, "", algorithm="none")


def test_only_the_documented_routes_open_without_a_service_token(running: Running) -> None:
    """Neither with no token nor with the client's; the others may answer what they like."""
    table = DOCUMENT.read_text("utf-8")
    documented = set(re.findall(rf"^\| {running.name} \| `(\S+ \S+)` \|", table, re.MULTILINE))
    taken = set()
    for method, path, security in operations(running.app):
        for headers in ({}, running.client_token):
            answer = running.client.request(method, filled(path), headers=headers)
            let_in = answer.status_code not in {401, 403}
            assert let_in == (path in OPEN_PATHS or (CLIENT in security and bool(headers))), path
        if CLIENT in security:
            taken.add(f"{method} {path}")
    assert taken == documented


def test_a_replayed_token_opens_nothing(running: Running) -> None:
    checked = 0
    for method, template, security in operations(running.app):
        if SERVICE not in security:
            continue
        path = filled(template)
        headers = {"X-Service-Token": running.sign(method, path)}
        first = running.client.request(method, path, headers=headers)
        again = running.client.request(method, path, headers=headers)
        assert (first.status_code != 401, again.status_code) == (True, 401), path
        checked += 1
    assert checked


def test_a_good_service_token_is_not_a_client_token(running: Running) -> None:
    for method, template, security in operations(running.app):
        if security == {CLIENT}:
            path = filled(template)
            token = running.sign(method, path)
            for headers in ({"X-Service-Token": token}, {"Authorization": f"Bearer {token}"}):
                assert running.client.request(method, path, headers=headers).status_code == 401
        elif CLIENT not in security and security:
            response = running.client.request(
                method, filled(template), headers=running.client_token
            )
            assert response.status_code == 401
