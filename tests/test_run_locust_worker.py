"""run_locust_worker.py: what it needs, it names; what it measures, tests/traffic/ shows."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from fakes.system import stack_value, write_value
from run_locust_worker import known_secrets, main, parse, seen_from_here

from common.cli import ConfigurationError, UsageError
from stack.load import load_stack
from traffic.engines import MASTER_PORT
from traffic.locust_wire import TOKEN_VARIABLE

if TYPE_CHECKING:
    from stack.model import Stack

SCRIPT = Path(__file__).resolve().parents[1] / "scripts/run_locust_worker.py"
TOKEN = "a-token-of-the-tests"


def stack_with_secret(folder: Path) -> Stack:
    profile = {
        "name": "one",
        "service": "front",
        "per_second": 1,
        "path": "/ok",
        "headers": {"Authorization": "Bearer {secret:FAKE_KEY}"},
        "expect": {"status": 200},
    }
    return load_stack(write_value(folder, {**stack_value(), "traffic": [profile]}), {})


def test_the_defaults_are_those_of_the_master() -> None:
    options = parse([])
    assert (options.master_host, options.master_port) == ("127.0.0.1", MASTER_PORT)
    assert options.name.endswith(f"-{os.getpid()}")


@pytest.mark.parametrize("words", [["--master-port", "0"], ["--wait-seconds", "-1"], ["--token"]])
def test_bad_arguments_are_one_line(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(words)


def test_without_a_token_nothing_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match=f"{TOKEN_VARIABLE}: expected 16 characters"):
        main([])
    assert "gevent" not in sys.modules


def test_without_its_packages_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name != "gevent" or None)
    with pytest.raises(ConfigurationError) as refused:
        main([])
    said = str(refused.value)
    assert "the package 'gevent' is not installed" in said
    assert "`make locust-worker`, or `uv run " in said
    assert sys.executable not in said


def test_a_secret_that_the_traffic_needs_has_to_be_in_the_environment(tmp_path: Path) -> None:
    stack = stack_with_secret(tmp_path)
    with pytest.raises(ConfigurationError, match="FAKE_KEY is not set: export the value"):
        known_secrets(stack, {})
    assert known_secrets(stack, {"FAKE_KEY": "its-value"}) == {"FAKE_KEY": "its-value"}


def test_a_secret_that_no_traffic_needs_may_be_missing(tmp_path: Path) -> None:
    assert known_secrets(load_stack(write_value(tmp_path, stack_value()), {}), {}) == {}


def test_a_stack_without_traffic_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    file = write_value(tmp_path, stack_value())
    with pytest.raises(ConfigurationError, match="has no traffic"):
        main(["--stack", str(file)])
    assert "gevent" not in sys.modules


def test_a_service_can_be_elsewhere_seen_from_a_worker(tmp_path: Path) -> None:
    stack = load_stack(write_value(tmp_path, stack_value()), {})
    urls = seen_from_here(stack, ["front=https://front.example.org/"])
    assert urls["front"] == "https://front.example.org"
    assert urls["jobs"] == stack.services[1].url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("back=http://x", "expected one of front, jobs before ="),
        ("front", "expected http:// or https:// after =, got ''"),
        ("front=x:80", "expected http:// or https:// after =, got 'x:80'"),
    ],
)
def test_a_url_that_is_none_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    stack = load_stack(write_value(tmp_path, stack_value()), {})
    with pytest.raises(UsageError, match=expected):
        seen_from_here(stack, [text])


@pytest.mark.slow
def test_without_a_master_it_says_where_it_looked(tmp_path: Path) -> None:
    stack = stack_with_secret(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = str(nobody.getsockname()[1])
    command = [sys.executable, str(SCRIPT), "--stack", str(stack.file), "--wait-seconds", "1"]
    done = subprocess.run(
        [*command, "--master-port", port],
        env={**os.environ, TOKEN_VARIABLE: TOKEN, "FAKE_KEY": "its-value-is-long"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"error: no master at 127.0.0.1:{port} within 1 s" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr  # gevent says what was imported too early to be patched
