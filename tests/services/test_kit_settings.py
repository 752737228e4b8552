"""Settings and start: a wrong configuration is one clear line and exit code 78."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from fastapi import Request
from fastapi.security import HTTPAuthorizationCredentials

from services import __main__ as start
from services import prepare
from services.kit.access import require_client
from services.kit.errors import ServiceError
from services.kit.settings import PORTS, Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

GOOD = {"STATE_FOLDER": "state", "CLIENT_TOKEN": "some-client-token"}


def test_every_service_has_its_port_url_and_own_database(tmp_path: Path) -> None:
    environ = {**GOOD, "STATE_FOLDER": str(tmp_path)}
    for service, port in PORTS.items():
        settings = Settings.from_environment(service, environ)
        assert settings.port == port
        assert settings.urls[service] == f"http://127.0.0.1:{port}"
        assert settings.database_url.endswith(f"/{service}.db")
        assert settings.queue_url.endswith("/queue.db")


def test_urls_of_the_environment_win() -> None:
    environ = {**GOOD, "MEMORY_ENGINE_URL": "http://memory:1234/", "QUEUE_URL": "redis://queue"}
    settings = Settings.from_environment("executor", environ)
    assert settings.urls["memory-engine"] == "http://memory:1234"
    assert settings.queue_url == "redis://queue"


def test_settings_never_show_the_client_token() -> None:
    settings = Settings.from_environment("gateway", GOOD)
    assert GOOD["CLIENT_TOKEN"] not in repr(settings)


def test_only_who_checks_the_client_token_has_to_be_told() -> None:
    for service in PORTS:
        environ = {**GOOD, "CLIENT_TOKEN": ""}
        if service in {"targets", "sessions"}:
            assert Settings.from_environment(service, environ).client_token == ""
        else:
            with pytest.raises(SettingsError, match="CLIENT_TOKEN is not set"):
                Settings.from_environment(service, environ)


@pytest.mark.parametrize("sent", [None, "", "x"])
def test_a_service_that_was_told_no_client_token_lets_no_client_in(sent: str | None) -> None:
    settings = Settings.from_environment("sessions", {"STATE_FOLDER": "state"})
    app = SimpleNamespace(state=SimpleNamespace(settings=settings))
    request = Request({"type": "http", "app": app})
    offered = None if sent is None else HTTPAuthorizationCredentials(scheme="", credentials=sent)
    with pytest.raises(ServiceError, match="no valid client token"):
        asyncio.run(require_client(request, offered))


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"STATE_FOLDER": ""}, "STATE_FOLDER is not set"),
        ({"CLIENT_TOKEN": " "}, "CLIENT_TOKEN is not set"),
        ({"ALLOWED_HOSTS": "good.example, http://bad"}, "ALLOWED_HOSTS: expected host"),
        ({"SESSIONS_URL": "ftp://sessions"}, "SESSIONS_URL: expected an http"),
    ],
)
def test_a_wrong_variable_is_named(changes: Mapping[str, str], wanted: str) -> None:
    with pytest.raises(SettingsError, match=wanted):
        Settings.from_environment("gateway", {**GOOD, **changes})


def test_allowed_hosts_are_split_and_lowered() -> None:
    settings = Settings.from_environment("executor", {**GOOD, "ALLOWED_HOSTS": "A.example, b:1,"})
    assert settings.allowed_hosts == ("a.example", "b:1")


@pytest.mark.parametrize("argv", [[], ["unknown"], ["gateway", "sessions"]])
def test_a_wrong_service_name_is_one_line_and_78(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start.main(argv) == 78
    said = capsys.readouterr().err
    assert said.startswith("error: expected")
    assert said.count("\n") == 1


def test_prepare_without_state_folder_is_one_line_and_78(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert prepare.main({"CLIENT_TOKEN": "x"}) == 78
    assert capsys.readouterr().err.startswith("error: STATE_FOLDER is not set")


def test_prepare_over_a_file_is_one_line_and_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    environ = {**GOOD, "STATE_FOLDER": str(tmp_path / "file")}
    assert prepare.main(environ) == 78
    assert "choose another STATE_FOLDER" in capsys.readouterr().err


def test_unprepared_keys_are_named(tmp_path: Path) -> None:
    from services.memory_engine.app import build

    environ = {**GOOD, "STATE_FOLDER": str(tmp_path)}
    with pytest.raises(SettingsError, match=r"services\.prepare"):
        build(Settings.from_environment("memory-engine", environ))
