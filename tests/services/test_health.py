"""The container health check: 0 where /readyz says 200, 1 otherwise, in bounded time."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from services import health
from services.memory_engine.app import build

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service_protocols import Serve, SettingsFor


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def check(monkeypatch: pytest.MonkeyPatch, port: int) -> int:
    monkeypatch.setattr(health, "PORTS", MappingProxyType({"memory-engine": port}))
    return health.main(["memory-engine"])


def test_a_ready_service_is_healthy(
    settings_for: SettingsFor, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(serve(build(settings_for("memory-engine"))).url.rpartition(":")[2])
    assert check(monkeypatch, port) == 0


def test_a_service_that_is_not_ready_is_not_healthy(
    settings_for: SettingsFor, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = settings_for("memory-engine", database_url=f"sqlite:///{tmp_path / 'other.db'}")
    port = int(serve(build(settings)).url.rpartition(":")[2])
    assert check(monkeypatch, port) == 1


def test_nobody_there_is_not_healthy(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = listener.getsockname()[1]
    listener.close()
    assert check(monkeypatch, port) == 1


def test_a_service_that_hangs_is_not_healthy(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 0.1)
    assert check(monkeypatch, listener.getsockname()[1]) == 1


@pytest.mark.parametrize("said", [b"", b"200 OK\r\n", b"SSH-2.0\r\n", b"HTTP/1.1 2000 x\r\n"])
def test_what_is_no_200_is_not_healthy(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(said)

    answering = threading.Thread(target=answer)
    answering.start()
    assert check(monkeypatch, listener.getsockname()[1]) == 1
    answering.join()


@pytest.mark.parametrize("argv", [[], ["unknown"], ["gateway", "sessions"]])
def test_a_wrong_name_is_one_line_and_64(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert health.main(argv) == 64
    assert capsys.readouterr().err.count("\n") == 1


def test_it_imports_next_to_nothing() -> None:
    """It runs in every container every few seconds."""
    code = "import sys; import services.health; print(sum('.' not in name for name in sys.modules))"
    folder = str(Path(health.__file__).resolve().parents[1])
    environ = {**os.environ, "PYTHONPATH": folder}
    heavy = "import sys, services.health; print('asyncio' in sys.modules, 'http' in sys.modules)"
    found = [
        subprocess.run(
            [sys.executable, "-S", "-c", text],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for text in (code, heavy)
    ]
    assert int(found[0]) < 80
    assert found[1] == "False False"
