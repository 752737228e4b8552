"""Containers as identities: a restart changes the key, and so does another container."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from stack.compose.identities import identities_of

NAMES = {"front": "web", "jobs": "jobs"}


def engine(*rows: tuple[str, str, dict[str, Any], int]) -> Any:
    """A Docker client that knows these containers: id, Compose service, state, restarts."""
    listed = [
        {
            "Id": identity,
            "Labels": {"com.docker.compose.service": service},
            "State": "running",
            "Status": "Up",
        }
        for identity, service, _, _ in rows
    ]
    inspected = {
        identity: {"State": state, "RestartCount": restarts}
        for identity, _, state, restarts in rows
    }
    api = SimpleNamespace(
        containers=lambda **_: listed, inspect_container=lambda identity: inspected[identity]
    )
    return SimpleNamespace(api=api)


def running(since: str) -> dict[str, Any]:
    return {"Running": True, "Restarting": False, "StartedAt": since}


def test_a_container_is_the_same_until_it_is_started_again() -> None:
    first = identities_of(engine(("a" * 64, "web", running("1"), 0)), "project", NAMES)["front"]
    again = identities_of(engine(("a" * 64, "web", running("1"), 0)), "project", NAMES)["front"]
    later = identities_of(engine(("a" * 64, "web", running("2"), 1)), "project", NAMES)["front"]
    other = identities_of(engine(("b" * 64, "web", running("1"), 0)), "project", NAMES)["front"]
    assert first == again
    assert len({first.key, later.key, other.key}) == 3
    assert (first.pid, later.restarts) == (None, 1)


def test_a_container_that_does_not_run_has_ended() -> None:
    for state in ({"Running": False}, {"Running": True, "Restarting": True, "StartedAt": "1"}):
        found = identities_of(engine(("a" * 64, "web", state, 0)), "project", NAMES)
        assert found["front"].ended


def test_a_service_without_a_container_is_not_made_up() -> None:
    found = identities_of(engine(("a" * 64, "jobs", running("1"), 0)), "project", NAMES)
    assert set(found) == {"jobs"}
