"""stack.compose.engine: the engine that the docker command would use, or why there is none."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

import pytest

from common.cli import ConfigurationError, ScriptError
from stack.compose import engine
from stack.compose.engine import Endpoint, connect, find_endpoint

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="programs of a shell, Unix sockets")


def fake_docker(folder: Path, body: str) -> dict[str, str]:
    """An environment whose `docker` is a shell script."""
    program = folder / "docker"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "DOCKER_CONFIG": str(folder / "no-config")}


def context(host: str, **more: object) -> str:
    """What `docker context inspect` prints."""
    return json.dumps([{"Endpoints": {"docker": {"Host": host, **more}}, "Storage": {}}])


def test_docker_host_wins_over_a_context(tmp_path: Path) -> None:
    environ = fake_docker(tmp_path, f"echo '{context('tcp://context:1')}'")
    environ |= {"DOCKER_CONTEXT": "other", "DOCKER_HOST": "tcp://host:2375"}
    assert find_endpoint(environ) == Endpoint("tcp://host:2375", None, verify=False)


def test_a_context_is_asked_for_its_host(tmp_path: Path) -> None:
    environ = fake_docker(tmp_path, f"echo '{context('tcp://far:2376', SkipTLSVerify=True)}'")
    found = find_endpoint({**environ, "DOCKER_CONTEXT": "far"})
    assert found == Endpoint("tcp://far:2376", None, verify=False)
    assert (found.local, found.host) == (False, "far")


def test_the_context_of_the_configuration_is_used(tmp_path: Path) -> None:
    environ = fake_docker(tmp_path, f"echo '{context('unix:///desktop.sock')}'")
    (tmp_path / "config.json").write_text('{"currentContext": "desktop-linux"}')
    assert find_endpoint({**environ, "DOCKER_CONFIG": str(tmp_path)}).url == "unix:///desktop.sock"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"currentContext": ""}'])
def test_without_a_context_it_is_the_local_engine(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    found = find_endpoint({"DOCKER_CONFIG": str(tmp_path)})
    assert (found.url, found.local, found.host) == (
        "unix:///var/run/docker.sock",
        True,
        "127.0.0.1",
    )


def test_an_unknown_context_is_one_line(tmp_path: Path) -> None:
    said = 'context "nope": context not found'
    environ = fake_docker(tmp_path, f"echo '{said}' >&2; exit 1")
    with pytest.raises(
        ConfigurationError, match=r"can't read the Docker context 'nope'.*not found"
    ):
        find_endpoint({**environ, "DOCKER_CONTEXT": "nope"})


def test_a_context_without_docker_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="docker is not installed"):
        find_endpoint({"PATH": str(tmp_path), "DOCKER_CONTEXT": "far"})


def test_certificates_come_from_their_folder(tmp_path: Path) -> None:
    environ = {"DOCKER_HOST": "tcp://host:2376", "DOCKER_TLS_VERIFY": "1"}
    found = find_endpoint({**environ, "DOCKER_CERT_PATH": str(tmp_path)})
    assert found == Endpoint("tcp://host:2376", str(tmp_path), verify=True)


def test_no_engine_at_the_socket_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"no Docker engine answers at unix:.*start it"):
        connect({"DOCKER_HOST": f"unix://{tmp_path}/engine.sock"})


@pytest.mark.parametrize("value", ["garbage", "http://", "tcp://", "gopher://127.0.0.1:1"])
def test_a_docker_host_that_is_none_says_what_one_looks_like(tmp_path: Path, value: str) -> None:
    with pytest.raises(ScriptError, match=f"expected DOCKER_HOST like unix://.*got {value}: corr"):
        connect({"DOCKER_HOST": value, "DOCKER_CONFIG": str(tmp_path)})


def test_a_host_that_nobody_knows_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(ScriptError, match=r"the host engine\.invalid of the Docker engine at tcp:"):
        connect({"DOCKER_HOST": "tcp://engine.invalid:2375"})


def test_a_refused_connection_is_one_line() -> None:
    with pytest.raises(ScriptError, match=r"no Docker engine answers at tcp://127\.0\.0\.1:1: "):
        connect({"DOCKER_HOST": "tcp://127.0.0.1:1"})


def test_an_engine_that_never_answers_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ScriptError, match="does not answer in time"):
            connect({"DOCKER_HOST": f"tcp://127.0.0.1:{port}"}, timeout_seconds=1)


def test_trouble_without_a_name_is_one_line() -> None:
    why = engine._why_not(Endpoint("tcp://127.0.0.1:1"), ValueError("odd\nanswer"))
    assert why.startswith("can't use the Docker engine at tcp://127.0.0.1:1: odd answer: start it")


def test_ssh_says_how_to_forward_the_socket() -> None:
    with pytest.raises(ConfigurationError, match=r"ssh -NL /tmp/engine\.sock"):
        connect({"DOCKER_HOST": "ssh://host"})


def test_no_permission_is_one_line() -> None:
    """Root may open every socket: the SDK's own words stand in for it."""
    problem = OSError("('Connection aborted.', PermissionError(13, 'Permission denied'))")
    why = engine._why_not(Endpoint("unix:///var/run/docker.sock"), problem)
    assert why.startswith("no permission to use the Docker engine at unix:///var/run/docker.sock: ")
    assert "group docker" in why


def test_a_full_disk_of_the_engine_says_so() -> None:
    problem = OSError("mkdir /var/lib/docker/x: no space left on device")
    assert str(engine.engine_trouble(problem)).startswith("the disk of the Docker engine is full")


def test_a_record_keeps_what_chooses_the_engine() -> None:
    environ = {"DOCKER_HOST": "tcp://h:1", "DOCKER_CONTEXT": "", "PATH": "/bin", "TOKEN": "x" * 20}
    assert engine.chosen(environ) == {"DOCKER_HOST": "tcp://h:1"}
