"""Variables of containers: secrets in files, servers, detours; a wrong one is one clear line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services import __main__ as start
from services import prepare
from services.kit.engines import open_engine
from services.kit.settings import Settings, SettingsError

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"STATE_FOLDER": "state", "CLIENT_TOKEN": "some-client-token"}
POSTGRES = "postgresql+psycopg://proof@postgres:5432/proof"


def settings(**changes: str) -> Settings:
    return Settings.from_environment("executor", {**GOOD, **changes})


def write(folder: Path, content: bytes) -> str:
    path = folder / "secret"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("content", [b"from-a-file", b"from-a-file\n", b"from-a-file\r\n"])
def test_a_secret_may_stand_in_a_file(tmp_path: Path, content: bytes) -> None:
    environ = {"STATE_FOLDER": "state", "CLIENT_TOKEN_FILE": write(tmp_path, content)}
    assert Settings.from_environment("gateway", environ).client_token == "from-a-file"


def test_one_line_break_is_taken_off_and_no_more(tmp_path: Path) -> None:
    environ = {"STATE_FOLDER": "state", "CLIENT_TOKEN_FILE": write(tmp_path, b" a \n\n")}
    assert Settings.from_environment("gateway", environ).client_token == " a \n"


def test_passwords_from_files_are_in_the_urls_of_their_servers(tmp_path: Path) -> None:
    chosen = "p@ss/w:rd%20"
    path = write(tmp_path, f"{chosen}\n".encode())
    found = settings(
        DATABASE_URL=POSTGRES,
        DATABASE_PASSWORD_FILE=path,
        QUEUE_URL="redis://redis:6379/0",
        QUEUE_PASSWORD="q",
    )
    assert open_engine(found.database_url, "x").url.password == chosen
    assert found.queue_url == "redis://:q@redis:6379/0"
    assert set(found.secrets) >= {"some-client-token", chosen, "q"}
    assert not any(secret in repr(found) for secret in found.secrets if secret != "q")


def test_a_password_without_a_server_is_not_needed() -> None:
    found = settings(DATABASE_PASSWORD_FILE="/nowhere", QUEUE_PASSWORD_FILE="/nowhere")
    assert found.database_url.startswith("sqlite:///")
    assert found.queue_url.startswith("sqlite:///")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"CLIENT_TOKEN_FILE": "/nowhere"}, "CLIENT_TOKEN and CLIENT_TOKEN_FILE are both set"),
        (
            {"CLIENT_TOKEN": "", "CLIENT_TOKEN_FILE": "/nowhere"},
            "CLIENT_TOKEN_FILE: can't read .*nowhere: no such file",
        ),
        ({"DATABASE_URL": "mysql://x/y"}, "DATABASE_URL: expected sqlite: or postgresql"),
        ({"QUEUE_URL": "kafka://x"}, "QUEUE_URL: expected sqlite: or redis: or rediss:, got"),
        (
            {"QUEUE_URL": "redis://:a@redis/0", "QUEUE_PASSWORD": "b"},
            "QUEUE_URL holds a password and QUEUE_PASSWORD is set",
        ),
        ({"LISTEN_HOST": "http://0.0.0.0"}, "LISTEN_HOST: expected an address"),
        ({"CONNECT_TO": "a:1"}, "CONNECT_TO: expected host:port=host:port, got 'a:1'"),
        ({"CONNECT_TO": "a:1=b"}, "CONNECT_TO: expected"),
        ({"CONNECT_TO": "a=b:1"}, "CONNECT_TO: expected"),
    ],
)
def test_a_wrong_variable_is_named(changes: dict[str, str], wanted: str) -> None:
    with pytest.raises(SettingsError, match=wanted):
        settings(**changes)


@pytest.mark.parametrize("content", [b"", b"\n", b"  \n", b"\xff\xfe", b"x" * 70_000])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    environ = {"STATE_FOLDER": "state", "CLIENT_TOKEN_FILE": write(tmp_path, content)}
    with pytest.raises(SettingsError, match="CLIENT_TOKEN_FILE: expected"):
        Settings.from_environment("gateway", environ)


def test_a_folder_in_the_place_of_a_secret_is_one_line_and_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker makes a folder where the file of a secret is missing."""
    environ = {"STATE_FOLDER": str(tmp_path), "CLIENT_TOKEN_FILE": str(tmp_path)}
    assert prepare.main(environ) == 78
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CLIENT_TOKEN", raising=False)
    assert start.main(["gateway"]) == 78
    first, second = capsys.readouterr().err.splitlines()
    assert first == second
    assert first.startswith("error: CLIENT_TOKEN_FILE: can't read")


def test_services_listen_on_loopback_unless_told_otherwise() -> None:
    assert settings().listen_host == "127.0.0.1"
    assert settings(LISTEN_HOST="0.0.0.0").listen_host == "0.0.0.0"  # noqa: S104 - in containers
    assert settings(LISTEN_HOST="::").listen_host == "::"


def test_keys_may_lie_elsewhere(tmp_path: Path) -> None:
    assert settings(STATE_FOLDER=str(tmp_path)).keys_folder == tmp_path / "keys"
    assert settings(KEYS_FOLDER=str(tmp_path / "other")).keys_folder == tmp_path / "other"


def test_the_leeway_of_tokens_is_bounded() -> None:
    """G3a: a leeway as long as anybody likes would be no time window at all."""
    assert settings().token_leeway_seconds == 5.0
    assert settings(TOKEN_LEEWAY_SECONDS="0").token_leeway_seconds == 0.0
    assert settings(TOKEN_LEEWAY_SECONDS="2.5").token_leeway_seconds == 2.5
    for odd in ("30.1", "-1", "nan", "inf", "1e1", "five", "٣"):
        with pytest.raises(SettingsError, match="TOKEN_LEEWAY_SECONDS: expected seconds from 0 to"):
            settings(TOKEN_LEEWAY_SECONDS=odd)


def test_detours_are_read() -> None:
    found = settings(CONNECT_TO="127.0.0.1:7060=targets:7060, A.example:80=b:1,")
    assert found.connect_to == {"127.0.0.1:7060": "targets:7060", "a.example:80": "b:1"}
