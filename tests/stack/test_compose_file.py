"""stack.compose.file: the section of the stack file, and what Compose makes of its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fakes.compose import fake_values, write_compose_stack

from common.cli import ConfigurationError
from stack import records
from stack.compose.checks import at_engine_host, check_names, check_secret_files
from stack.compose.file import Composed
from stack.compose.secret_files import write_secret_files
from stack.compose.start import longest_chain_seconds
from stack.load import load_stack
from stack.model import Service
from stack.runtime import open_runtime, runtime_names

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"file": ""}, "runtimes.compose.file"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"environment": {"X": "{python}"}}, r"unknown placeholder \{python\}"),
        ({"environment": {"X": "{secret:FAKE_KEY}"}}, "unknown placeholder"),
        ({"environment": {"lower": "x"}}, "runtimes.compose.environment"),
        ({"services": {"ghost": "x"}}, "expected one of front, jobs, got 'ghost'"),
        ({"python": {"service": "jobs"}}, "runtimes.compose.python"),
    ],
)
def test_a_broken_section_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    stack, compose = fake_values()
    stack["runtimes"]["compose"] |= change
    with pytest.raises(ConfigurationError, match=says):
        load_stack(write_compose_stack(tmp_path, stack, compose), {})


def test_a_store_of_a_runtime_that_is_not_there_is_refused(tmp_path: Path) -> None:
    stack, compose = fake_values()
    stack["stores"]["results"]["process"] = {"kind": "sqlite", "location": "{state}/x.db"}
    with pytest.raises(ConfigurationError, match="expected one of compose, got 'process'"):
        load_stack(write_compose_stack(tmp_path, stack, compose), {})


def test_every_runtime_is_a_module() -> None:
    assert runtime_names() == {"compose", "external", "process"}


def test_opening_it_asks_no_engine_and_closing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    stack = load_stack(write_compose_stack(tmp_path, *fake_values()), {})
    runtime = open_runtime(stack, "compose", environ={"DOCKER_HOST": "unix:///nowhere.sock"})
    assert runtime.stop() == ()
    runtime.close()
    assert records.sweep() == []
    assert [*(tmp_path / "cache/state").iterdir()] == []


def composed(**service: Any) -> Composed:
    return Composed({"services": {"db": service}})


def test_a_built_service_without_an_image_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="built but has no image name"):
        composed(build=".").image_of("db")


def test_an_unknown_service_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"expected a Compose service \(db\), got 'x'"):
        composed(image="a").image_of("x")
    with pytest.raises(
        ConfigurationError, match=r"expected a service for api \(db\), got no 'web'"
    ):
        check_names(composed(image="a"), {"api": "web"}, "compose.yaml")


def test_a_missing_secret_file_is_named(tmp_path: Path) -> None:
    value = {
        "services": {"db": {"secrets": [{"source": "USED"}]}},
        "secrets": {"USED": {"file": f"{tmp_path}/USED"}, "UNUSED": {"file": f"{tmp_path}/none"}},
    }
    with pytest.raises(ConfigurationError, match=r"the secret USED: expected the file .*/USED"):
        check_secret_files(Composed(value), "compose.yaml")
    (tmp_path / "USED").touch()
    check_secret_files(Composed(value), "compose.yaml")


def test_only_fixed_tcp_ports_are_checked() -> None:
    ports = [
        {"target": 80, "published": "7000", "protocol": "tcp"},
        {"target": 81, "published": "7001", "protocol": "udp"},
        {"target": 82},
        {"target": 83, "published": "0"},
        {"target": 84, "published": "8000-8010"},
    ]
    assert composed(ports=ports).published() == {"db:7000": 7000}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("1m30s", 90), ("1h0m0s", 3600), ("500ms", 0.5), ("nonsense", 10)],
)
def test_a_grace_period_is_read(text: str, seconds: float) -> None:
    found = composed(stop_grace_period=text)
    assert found.longest_grace_seconds() == seconds
    assert found.states_every_grace()
    assert not composed(image="x").states_every_grace()


def test_a_start_may_take_as_long_as_its_longest_chain() -> None:
    services = (
        Service("a", "http://x", start_seconds=5),
        Service("b", "http://x", start_seconds=7, depends_on=("a",)),
        Service("c", "http://x", start_seconds=11),
    )
    assert longest_chain_seconds(services) == 12


def test_each_secret_is_a_file_that_a_container_can_read(tmp_path: Path) -> None:
    folder = write_secret_files({"ONE": "first", "TWO": "second"}, tmp_path)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "ONE": "first",
        "TWO": "second",
    }
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}


def test_services_are_where_a_remote_engine_publishes_them(tmp_path: Path) -> None:
    stack = load_stack(write_compose_stack(tmp_path, *fake_values()), {})
    moved = at_engine_host(stack, {"DOCKER_HOST": "tcp://engine.example:2375"})
    assert {item.url.rsplit(":", 1)[0] for item in moved.services} == {"http://engine.example"}
    assert at_engine_host(stack, {"DOCKER_HOST": "unix:///x"}) is stack


def test_a_url_of_the_user_wins_over_the_engine_host(tmp_path: Path) -> None:
    path = write_compose_stack(tmp_path, *fake_values())
    stack = load_stack(path, {"FAKE_FRONT_URL": "http://127.0.0.1:1"})
    moved = at_engine_host(stack, {"DOCKER_HOST": "tcp://engine.example:2375"})
    assert moved.service("front").url == "http://127.0.0.1:1"
