"""stack.compose.command: which Compose is used, its bounds, and what its failures come to."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from common.cli import ConfigurationError, ScriptError
from stack.compose.command import Compose, ComposeProgram, find_compose
from stack.compose.problems import explain

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="programs of a shell")


def program(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def environ_of(folder: Path) -> dict[str, str]:
    return {"PATH": str(folder)}


def compose_of(folder: Path, body: str) -> Compose:
    """Compose whose program is a shell script."""
    path = program(folder, "docker-compose", body)
    (folder / "logs").mkdir()
    (folder / "compose.yaml").write_text("services: {}\n")
    return Compose(
        ComposeProgram((str(path),), "0"),
        folder / "compose.yaml",
        "hb-0",
        ("ci",),
        {"PATH": "/usr/bin:/bin"},
        folder / "logs",
        lambda text: text.replace("hunter2hunter2", "[redacted]"),
    )


def test_no_docker_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"docker is not installed .*--runtime process"):
        find_compose(environ_of(tmp_path))


def test_docker_without_the_plugin_is_one_line(tmp_path: Path) -> None:
    program(tmp_path, "docker", "echo \"docker: 'compose' is not a docker command\" >&2; exit 1")
    with pytest.raises(ConfigurationError, match="the Compose plugin of docker is missing"):
        find_compose(environ_of(tmp_path))


def test_docker_compose_is_used_where_only_that_exists(tmp_path: Path) -> None:
    """P9."""
    single = program(tmp_path, "docker-compose", "echo 1.29.2")
    assert find_compose(environ_of(tmp_path)) == ComposeProgram((str(single),), "1.29.2")
    program(tmp_path, "docker", "exit 1")
    assert find_compose(environ_of(tmp_path)).command == (str(single),)


def test_the_plugin_comes_first(tmp_path: Path) -> None:
    program(tmp_path, "docker-compose", "echo 1.29.2")
    docker = program(tmp_path, "docker", "echo 2.40.1")
    assert find_compose(environ_of(tmp_path)) == ComposeProgram((str(docker), "compose"), "2.40.1")


def test_a_command_names_file_project_and_profiles(tmp_path: Path) -> None:
    compose = compose_of(tmp_path, 'echo "$@"')
    said = compose.run("up", "-d", seconds=10)
    assert said.strip() == f"-f {compose.file} -p hb-0 --profile ci up -d"


def test_a_command_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    compose = compose_of(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(ScriptError, match=r"docker compose up did not end within 0\.5 s"):
        compose.run("up", seconds=0.5)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_secret_in_what_it_says_is_taken_out(tmp_path: Path) -> None:
    compose = compose_of(tmp_path, "echo wrong password hunter2hunter2 >&2; exit 1")
    with pytest.raises(ScriptError, match=r"docker compose up failed: wrong password \[redacted\]"):
        compose.run("up", seconds=10)


def test_a_failed_build_shows_its_last_lines(tmp_path: Path) -> None:
    body = 'i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo "line $i"; done; exit 17'
    with pytest.raises(ScriptError, match=r"the build of compose.yaml failed: line 26 .*line 40$"):
        compose_of(tmp_path, body).run("build", seconds=10)


def test_a_typo_is_said_as_compose_says_it(tmp_path: Path) -> None:
    body = (
        'echo "time=x level=warning msg=old" >&2; '
        "echo 'yaml: line 4: did not find expected key' >&2; exit 15"
    )
    with pytest.raises(
        ConfigurationError, match=r"compose.yaml: yaml: line 4: did not find .*key:"
    ):
        compose_of(tmp_path, body).read("config")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("write /x: no space left on device", "the disk of the Docker engine is full"),
        (
            'failed to create network x: error during connect: Post "http://a/v1": EOF',
            "the Docker engine does not answer",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?",
            "no Docker engine answers at unix:///x.sock: start it",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket",
            "no permission to use the Docker engine",
        ),
        (
            "Bind for 127.0.0.1:7000 failed: port is already allocated",
            "port 7000 is taken by another container",
        ),
        (
            "listen tcp4 127.0.0.1:7010: bind: address already in use",
            "port 7010 is taken by another process",
        ),
        (
            'invalid mount config for type "bind": bind source path does not exist: /a/b',
            "expected the file or folder /a/b, got nothing",
        ),
        (
            "Error from daemon: pull access denied for nobody/x, repository does not exist",
            "can't pull the image nobody/x: ",
        ),
        ("manifest for redis:99 not found: manifest unknown", "can't pull the image redis:99: "),
        (
            "dial tcp: lookup registry.example on 10.0.0.1:53: no such host",
            "can't pull an image, the registry can't be reached (dial tcp: lookup",
        ),
        ("first\nlast words\n\n", "docker compose up failed: last words"),
        ("", "docker compose up failed: exit code 1, and it said nothing"),
    ],
)
def test_each_kind_of_trouble_is_one_line(said: str, expected: str) -> None:
    line = str(explain("up", said, 1, "compose.yaml"))
    assert line.startswith(expected)
    assert "\n" not in line
