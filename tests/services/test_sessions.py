"""Sessions: active while they are heard of, ended for good, on the dot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient
from service_backends import BOTH
from sqlalchemy import text

from services.kit.database import Database
from services.sessions import store
from services.sessions.app import build
from services.sessions.lifecycle import Row, at, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service_protocols import Eventually, ServiceToken, SettingsFor

    from services.kit.settings import Settings

    Call = Callable[..., Any]

BACKENDS = BOTH
START = 1_800_000_000.0


class Clock:
    """A clock that stands where a test puts it."""

    now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(settings_for: SettingsFor) -> Settings:
    return settings_for("sessions")


@pytest.fixture
def call(settings: Settings, service_token: ServiceToken, clock: Clock) -> Iterator[Call]:
    with TestClient(build(settings, clock=clock)) as client:

        def send(method: str, path: str, body: object = None) -> Any:
            token = service_token("gateway", "sessions", method, path, body)
            return client.request(method, path, json=body, headers={"X-Service-Token": token})

        yield send


@pytest.fixture
def session_path(call: Call) -> str:
    answer = call("POST", "/v1/sessions", {"ttl_seconds": 60})
    assert answer.status_code == 201
    return f"/v1/sessions/{answer.json()['id']}"


def test_a_session_is_created_active(call: Call) -> None:
    answer = call("POST", "/v1/sessions", {"ttl_seconds": 60}).json()
    assert answer | {"id": ""} == {
        "id": "",
        "state": "active",
        "ttl_seconds": 60,
        "created": "2027-01-15T08:00:00.000Z",
        "last_heartbeat": "2027-01-15T08:00:00.000Z",
        "expires": "2027-01-15T08:01:00.000Z",
        "ended": None,
    }
    assert call("GET", f"/v1/sessions/{answer['id']}").json() == answer


def test_a_session_expires_on_the_dot(call: Call, clock: Clock, session_path: str) -> None:
    clock.now = START + 59.999
    assert call("GET", session_path).json()["state"] == "active"
    clock.now = START + 60
    found = call("GET", session_path).json()
    assert (found["state"], found["ended"]) == ("expired", utc_text(START + 60))


def test_a_heartbeat_gives_the_whole_time_again(
    call: Call, clock: Clock, session_path: str
) -> None:
    clock.now = START + 50
    assert call("POST", f"{session_path}/heartbeat").json()["expires"] == utc_text(START + 110)
    clock.now = START + 109
    assert call("GET", session_path).json()["state"] == "active"
    clock.now = START + 110
    assert call("POST", f"{session_path}/heartbeat").status_code == 409


def test_an_expired_session_stays_expired_when_the_clock_goes_back(
    call: Call, clock: Clock, session_path: str
) -> None:
    clock.now = START + 60
    assert call("POST", f"{session_path}/heartbeat").status_code == 409
    clock.now = START
    assert call("GET", session_path).json()["state"] == "expired"


def test_a_heartbeat_by_a_clock_that_went_back_shortens_nothing(
    call: Call, clock: Clock, session_path: str
) -> None:
    clock.now = START - 30
    assert call("POST", f"{session_path}/heartbeat").json()["expires"] == utc_text(START + 60)


def test_a_destroyed_session_stays_destroyed(call: Call, clock: Clock, session_path: str) -> None:
    clock.now = START + 10
    first = call("DELETE", session_path)
    assert (first.status_code, first.json()["state"]) == (200, "destroyed")
    clock.now = START + 600
    assert call("DELETE", session_path).json() == first.json()
    assert call("GET", session_path).json() == first.json()
    assert call("POST", f"{session_path}/heartbeat").status_code == 409


def test_an_unknown_session_is_not_found(call: Call) -> None:
    path = f"/v1/sessions/{'0' * 32}"
    for method, where in (("GET", path), ("DELETE", path), ("POST", f"{path}/heartbeat")):
        assert call(method, where).status_code == 404


@pytest.mark.parametrize("ttl", [0, -1, 86_401, 1.5, "60", None, True])
def test_a_time_out_of_range_is_refused(call: Call, ttl: object) -> None:
    assert call("POST", "/v1/sessions", {"ttl_seconds": ttl}).status_code == 422


def test_sessions_survive_a_restart(
    settings: Settings, call: Call, session_path: str, service_token: ServiceToken
) -> None:
    del call
    with TestClient(build(settings, clock=lambda: START + 1)) as restarted:
        token = service_token("gateway", "sessions", "GET", session_path)
        answer = restarted.get(session_path, headers={"X-Service-Token": token})
    assert answer.json()["state"] == "active"


def test_the_sweep_writes_down_expiry_and_the_metrics_count(
    settings: Settings, call: Call, clock: Clock, session_path: str, eventually: Eventually
) -> None:
    call("POST", "/v1/sessions", {"ttl_seconds": 600})
    eventually(lambda: 'sessions{state="active"} 2.0' in call("GET", "/metrics").text)
    clock.now = START + 61
    eventually(lambda: 'sessions{state="expired"} 1.0' in call("GET", "/metrics").text)
    database = Database(settings.database_url, "sessions")
    with database.reading() as connection:
        rows = connection.execute(text("SELECT state FROM sessions ORDER BY state")).all()
    database.close()
    assert [row[0] for row in rows] == ["active", "expired"]
    assert call("GET", session_path).json()["ended"] == utc_text(START + 60)


def test_the_sweep_forgets_only_what_ended_long_ago(settings: Settings) -> None:
    database = Database(settings.database_url, "sessions")
    for name in ("old", "new", "live"):
        store.add(database, Row(name, "active", 60, START, START, None))
    store.destroy(database, "old", START + 1)
    store.destroy(database, "new", START + 30)
    store.heartbeat(database, "live", START + 59)
    counts = store.sweep(database, START + 1 + store.RETENTION_SECONDS)
    assert counts == {"active": 0, "expired": 1, "destroyed": 1}
    with pytest.raises(store.NoSessionError):
        store.read(database, "old", START)
    database.close()


def test_a_sweep_that_fails_is_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    """The database is away (renamed table) at first, and there again later."""
    monkeypatch.setattr("services.sessions.app.SWEEP_INTERVAL_SECONDS", 0.01)
    database = Database(settings.database_url, "sessions")

    def rename(old: str, new: str) -> None:
        with database.writing() as connection:
            connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    rename("sessions", "elsewhere")
    with TestClient(build(settings)) as client:
        assert client.get("/readyz").status_code == 503
        rename("elsewhere", "sessions")
        eventually(lambda: 'sessions{state="active"} 0.0' in client.get("/metrics").text)
    database.close()


def test_the_state_is_a_function_of_row_and_clock() -> None:
    row = Row("a", "active", 10, 0.0, 5.0, None)
    assert [at(row, now).state for now in (0.0, 14.9, 15.0)] == ["active", "active", "expired"]
