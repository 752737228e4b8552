"""What the engine or the disk does wrong at the end of a project is said, and nothing is lost."""

from __future__ import annotations

import errno
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from requests.exceptions import ReadTimeout

from common.cli import ScriptError
from stack import persistence_postgres, records
from stack.compose import engine as engines
from stack.compose.checks import check_images
from stack.compose.containers import Listed, is_down, keep_logs
from stack.compose.engine import Endpoint, Engine, find_endpoint
from stack.compose.leftovers import Thing, remove_things
from stack.model import Store

if TYPE_CHECKING:
    from collections.abc import Callable


def fake_engine(**calls: Callable[..., object]) -> Engine:
    """An engine that answers only these calls."""
    unused = {"remove_network": None, "remove_volume": None, "remove_container": None}
    client: Any = SimpleNamespace(api=SimpleNamespace(**(unused | calls)), close=lambda: None)
    return Engine(client, Endpoint("unix:///none"))


def slow(*_: object, **__: object) -> None:
    raise ReadTimeout("timed out")


def test_a_full_disk_while_logs_are_kept_is_a_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def full(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.name == "db.log":
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, *arguments, **more)

    monkeypatch.setattr(Path, "open", full)
    listed = [Listed(name, name, "running", "Up") for name in ("db", "jobs")]
    kept, lines = keep_logs(fake_engine(logs=lambda *_, **__: [b"said"]), listed, tmp_path)
    assert lines == ["the log of db can't be kept: no space left on device: free space"]
    assert {name: path.read_bytes() for name, path in kept.items()} == {"jobs": b"said"}


def test_a_removal_that_takes_too_long_is_one_line() -> None:
    with pytest.raises(ScriptError, match="the Docker engine does not answer: timed out"):
        remove_things(fake_engine(remove_container=slow), [Thing("container", "1", "hb")])


@pytest.mark.parametrize("stays", ["slow", "busy"])
def test_a_sweep_keeps_the_record_of_what_it_could_not_remove(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stays: str
) -> None:
    row = {"Id": "1", "Names": ["/hb-1"]}
    engine = fake_engine(
        containers=lambda **_: [row],
        inspect_container=lambda _: {},
        networks=lambda **_: [],
        volumes=lambda **_: {},
        remove_container=slow if stays == "slow" else lambda *_, **__: None,
    )
    monkeypatch.setattr(engines, "connect", lambda *_: engine)
    monkeypatch.setattr("stack.compose.leftovers._PAUSE_SECONDS", 0)
    record = records.new_record(tmp_path / "stack.yaml", "compose")
    record.project, record.harness_birth = "hb-1", "another"
    record.save()
    lines = [line for line in records.sweep() if "hb-1" in line]
    assert len(lines) == 1
    assert record.path.exists()


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint("unix:///desktop.sock", None, verify=False),
        Endpoint("tcp://far:2376", "/tls", verify=True),
        Endpoint("tcp://far:2376", "/tls", verify=False),
    ],
)
def test_a_recorded_engine_is_found_whatever_context_is_current(
    tmp_path: Path, endpoint: Endpoint
) -> None:
    (tmp_path / "config.json").write_text('{"currentContext": "other"}')
    environ = {"DOCKER_CONFIG": str(tmp_path), **endpoint.as_variables()}
    assert find_endpoint(environ) == endpoint


@pytest.mark.parametrize(
    ("state", "health", "task", "down"),
    [
        ("running", "healthy", False, False),
        ("running", "none", False, False),
        ("running", "unhealthy", False, True),
        ("exited", "none", False, True),
        ("exited", "none", True, False),
        ("paused", "healthy", False, True),
    ],
)
def test_what_does_not_run_or_is_unhealthy_is_down(
    state: str, health: str, *, task: bool, down: bool
) -> None:
    assert is_down({"state": state, "health": health, "task": task}) is down


def test_a_container_of_another_image_is_refused() -> None:
    """The tag was moved between the build and the start."""
    labels = {"com.docker.compose.service": "jobs"}
    engine = fake_engine(
        containers=lambda **_: [{"Id": "1", "Labels": labels}, {"Id": "2", "Labels": {}}],
        inspect_container=lambda _: {"Image": "sha256:new"},
    )
    check_images(engine, "hb-1", [{"id": "sha256:new", "services": ["jobs"]}])
    with pytest.raises(ScriptError, match=r"^jobs: expected the image sha256:old, got sha256:new"):
        check_images(engine, "hb-1", [{"id": "sha256:old", "services": ["jobs"]}])


def test_a_job_id_that_is_no_text_is_one_line() -> None:
    with pytest.raises(ScriptError, match=r"a job id that is Unicode text, got '.udc00'"):
        persistence_postgres._statements("SELECT 1", "\udc00")


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x1c"])
def test_a_stored_text_may_hold_any_line_separator(
    monkeypatch: pytest.MonkeyPatch, mark: str
) -> None:
    """Only psql's own line feed ends an answer."""
    said = f'[1, "text", "a{mark}b"]\n'.replace("\x1c", "\\u001c")
    monkeypatch.setattr(persistence_postgres, "_run", lambda *_: (0, said, ""))
    store = Store("db", "postgres", "postgresql://u@db/d", "1", {})
    found = persistence_postgres._ask(cast("Engine", nullcontext()), store, {"a": "SELECT"})
    assert found == {"a": (1, f"a{mark}b")}
