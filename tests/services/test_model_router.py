"""The model-router: same input same tokens, quotas that block, fall-back that is recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from service_backends import BOTH, embedded_only

from services.kit.settings import SettingsError
from services.model_router import model, providers, quotas
from services.model_router.app import build
from services.model_router.quotas import Quota, Used

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service_protocols import ServiceToken, SettingsFor

    Call = Callable[..., Any]

BACKENDS = BOTH
NOON = "2026-11-20T12:00:00.000Z"


class Clock:
    """A clock that stands where a test puts it."""

    now = NOON

    def __call__(self) -> str:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def environ() -> dict[str, str]:
    return {}


@pytest.fixture
def call(
    settings_for: SettingsFor,
    service_token: ServiceToken,
    clock: Clock,
    environ: dict[str, str],
    request: pytest.FixtureRequest,
) -> Iterator[Call]:
    """`call(method, path, body)` as who may; marker arguments set MODEL_ROUTER_FAULTS."""
    environ |= getattr(request, "param", {})
    with TestClient(build(settings_for("model-router"), environ=environ, clock=clock)) as client:

        def send(method: str, path: str, body: object = None, caller: str = "") -> Any:
            caller = caller or ("control-plane" if "/quotas/" in path else "gateway")
            token = service_token(caller, "model-router", method, path, body)
            return client.request(method, path, json=body, headers={"X-Service-Token": token})

        yield send


def faults(setting: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "call", [{providers.FAULTS_VARIABLE: setting}], indirect=True, ids=[setting]
    )


def complete(call: Call, prompt: str = "hello", **more: object) -> Any:
    return call("POST", "/v1/completions", {"prompt": prompt, "seed": 42, **more})


# --- the model -----------------------------------------------------------------------------


def test_the_answer_is_the_same_on_every_machine() -> None:
    """A golden answer: a change here changes what the proof of every earlier run said."""
    answer = model.generate("Say something about proof.", 42, 12)
    assert answer.text == "The record that an old answer can not pass for a failed"
    assert (len(answer.tokens), answer.finish_reason) == (12, "length")


def test_the_answer_does_not_depend_on_the_process() -> None:
    code = "from services.model_router.model import generate; print(generate('é', 7, 64).text)"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert found == {model.generate("é", 7, 64).text + "\n"}


@given(st.text(min_size=1, max_size=50), st.integers(0, 2**53 - 1), st.integers(1, 512))
def test_an_answer_repeats_and_keeps_its_limit(prompt: str, seed: int, limit: int) -> None:
    answer = model.generate(prompt, seed, limit)
    assert answer == model.generate(prompt, seed, limit)
    assert 1 <= len(answer.tokens) <= limit
    assert (answer.finish_reason == "stop") == (answer.tokens[-1] == ".")


def test_prompt_and_seed_both_matter() -> None:
    answers = {model.generate(p, s, 64).text for p in ("a", "b", "a1") for s in (0, 1, 11)}
    assert len(answers) == 9


@pytest.mark.parametrize("limit", [0, -1, 513])
def test_a_limit_out_of_range_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to 512"):
        model.generate("a", 0, limit)


# --- the arithmetic of quotas (C5) ---------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "blocked", "alerted"),
    [
        (Used(0, 0), None, False),
        (Used(79, 799), None, False),
        (Used(80, 0), None, True),
        (Used(0, 800), None, True),
        (Used(100, 1000), None, True),
        (Used(101, 0), "tokens_per_day", True),
        (Used(0, 1001), "cost_per_month", True),
    ],
)
def test_the_cap_blocks_and_eighty_percent_alerts(
    used: Used,
    blocked: str | None,
    alerted: bool,  # noqa: FBT001 - an expected value
) -> None:
    quota = Quota(100, 1000)
    assert (quotas.exceeded(quota, used), quotas.alert(quota, used)) == (blocked, alerted)


def test_a_cost_is_rounded_up() -> None:
    assert [quotas.cost_micro_usd(tokens, 500) for tokens in (0, 1, 2, 3)] == [0, 1, 1, 2]


@given(st.integers(0, 10**15))
def test_money_survives_the_way_through_dollars(micro_usd: int) -> None:
    assert quotas.to_micro_usd(quotas.to_usd(micro_usd)) == micro_usd


# --- the operations ------------------------------------------------------------------------


def test_an_answer_comes_with_its_usage_record(call: Call) -> None:
    answer = complete(call).json()
    expected = model.generate("hello", 42, 64)
    assert (answer["text"], answer["finish_reason"]) == (expected.text, expected.finish_reason)
    assert (answer["provider"], answer["fallback_reason"]) == ("primary", None)
    assert answer["usage"] == {
        "model_id": model.MODEL_ID,
        "prompt_sha256": model.prompt_sha256("hello"),
        "prompt_tokens": 2,
        "completion_tokens": len(expected.tokens),
        "total_tokens": 2 + len(expected.tokens),
        "cost_estimate_usd": quotas.to_usd(quotas.cost_micro_usd(2 + len(expected.tokens), 500)),
        "timestamp": NOON,
    }
    kept = call("GET", "/v1/usage/default").json()
    assert kept["runs"] == [answer["usage"]]
    assert kept["quota"] == answer["quota"]
    assert kept["quota"]["tokens_used_today"] == answer["usage"]["total_tokens"]


def test_a_stream_says_the_same_as_the_whole_answer(call: Call) -> None:
    whole = complete(call).json()
    response = complete(call, stream=True)
    assert response.headers["content-type"] == "application/x-ndjson"
    *tokens, done = map(json.loads, response.text.splitlines())
    assert "".join(token["text"] for token in tokens) == whole["text"]
    assert {token["type"] for token in tokens} == {"token"}
    assert done["type"] == "done"
    assert done["usage"] == whole["usage"]


@embedded_only
def test_the_prompt_is_not_kept(call: Call, settings_for: SettingsFor) -> None:
    complete(call, "a prompt that nobody else has to know")
    state = settings_for("model-router").state_folder
    stored = b"".join(path.read_bytes() for path in state.glob("model-router.db*"))
    assert model.prompt_sha256("a prompt that nobody else has to know").encode() in stored
    assert b"nobody else has to know" not in stored


def test_the_token_cap_blocks_hard_until_the_next_day(call: Call, clock: Clock) -> None:
    cost = complete(call).json()["usage"]["total_tokens"]
    caps = {"tokens_per_day": 2 * cost, "cost_per_month": 1.0}
    assert call("PUT", "/v1/quotas/default", caps).json() == {"workspace": "default", **caps}
    assert complete(call).json()["quota"]["alert"] is True
    for stream in (False, True):
        refused = complete(call, stream=stream)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota_exceeded")
        assert "tokens_per_day" in refused.json()["error"]["message"]
    assert len(call("GET", "/v1/usage/default").json()["runs"]) == 2
    assert complete(call, workspace="other").status_code == 200
    clock.now = "2026-11-21T00:00:00.000Z"
    assert complete(call).json()["quota"]["tokens_used_today"] == cost


def test_the_cost_cap_blocks_until_the_next_month(call: Call, clock: Clock) -> None:
    cost = complete(call).json()["usage"]["cost_estimate_usd"]
    call("PUT", "/v1/quotas/default", {"tokens_per_day": 10**9, "cost_per_month": cost})
    clock.now = "2026-11-30T23:59:59.999Z"
    refused = complete(call)
    assert refused.status_code == 429
    assert "cost_per_month" in refused.json()["error"]["message"]
    clock.now = "2026-12-01T00:00:00.000Z"
    assert complete(call).status_code == 200


def test_a_quota_of_nothing_blocks_at_once(call: Call) -> None:
    call("PUT", "/v1/quotas/default", {"tokens_per_day": 0, "cost_per_month": 0.0})
    assert complete(call).status_code == 429


def test_only_the_control_plane_sets_quotas(call: Call) -> None:
    """Whoever is held by a quota must not be the one who sets it (C5)."""
    caps = {"tokens_per_day": 10**9, "cost_per_month": 1.0}
    for caller in ("gateway", "executor", "sessions"):
        assert call("PUT", "/v1/quotas/default", caps, caller).status_code == 403
    assert call("PUT", "/v1/quotas/default", caps).status_code == 200


def test_runs_are_counted(call: Call) -> None:
    complete(call)
    assert 'model_runs_total{outcome="completed",provider="primary"} 1.0' in (
        call("GET", "/metrics").text
    )


# --- fall-back (C11) -----------------------------------------------------------------------


@faults("primary=401,429,200")
def test_a_failing_provider_falls_back_and_the_decision_is_recorded(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "services")
    answers = [complete(call).json() for _ in range(3)]
    assert [(answer["provider"], answer["fallback_reason"]) for answer in answers] == [
        ("secondary", "primary: 401 credentials refused"),
        ("secondary", "primary: 429 rate limited"),
        ("primary", None),
    ]
    assert len({answer["text"] for answer in answers}) == 1
    assert [
        vars(record)["fields"] for record in caplog.records if record.message == "fell back"
    ] == [{"provider": "secondary", "reason": answer["fallback_reason"]} for answer in answers[:2]]


@faults("primary=503;secondary=500")
def test_without_any_provider_the_answer_is_503_and_nothing_is_charged(call: Call) -> None:
    refused = complete(call)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
    assert call("GET", "/v1/usage/default").json()["runs"] == []


@pytest.mark.parametrize(
    "setting", ["primary", "primary=", "primary=418", "primary=x", "other=401", "primary=200,"]
)
def test_a_broken_fault_setting_stops_the_start(settings_for: SettingsFor, setting: str) -> None:
    with pytest.raises(SettingsError, match="MODEL_ROUTER_FAULTS: expected"):
        build(settings_for("model-router"), environ={providers.FAULTS_VARIABLE: setting})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": ""},
        {"prompt": "a\0"},
        {"prompt": "a" * 8001},
        {"prompt": "a", "seed": -1},
        {"prompt": "a", "seed": 2**53},
        {"prompt": "a", "seed": "1"},
        {"prompt": "a", "max_tokens": 0},
        {"prompt": "a", "max_tokens": 513},
        {"prompt": "a", "workspace": "../x"},
        {"prompt": "a", "provider": "secondary"},
        {"prompt": "a", "faults": "primary=500"},
    ],
)
def test_a_bad_request_is_refused(call: Call, body: dict[str, object]) -> None:
    assert call("POST", "/v1/completions", body).status_code == 422
