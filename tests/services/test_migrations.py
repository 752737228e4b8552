"""Migrations: up, down, up again; atomic; safe to start twice (C8)."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from alembic import command

from services import prepare
from services.kit.settings import PORTS, SettingsError, sqlite_url

if TYPE_CHECKING:
    from pathlib import Path

OURS = ("memory-engine", "control-plane", "queue")


def schema(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql NOT NULL AND name NOT LIKE 'alembic%'"
        )
        return sorted(row[0] for row in rows)


@pytest.mark.parametrize("database", OURS)
def test_up_down_up_gives_the_same_tables(database: str, tmp_path: Path) -> None:
    path, url = tmp_path / f"{database}.db", sqlite_url(tmp_path, database)
    prepare.upgrade(database, url)
    made = schema(path)
    assert made
    command.downgrade(prepare.alembic_config(database, url), "base")
    assert schema(path) == []
    prepare.upgrade(database, url)
    assert schema(path) == made


@pytest.mark.parametrize("database", prepare.DATABASES)
def test_databases_are_in_wal_mode_but_the_shared_queue(
    database: str, prepared_folder: Path
) -> None:
    wanted = "delete" if database == "queue" else "wal"
    with closing(sqlite3.connect(prepared_folder / f"{database}.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == (wanted,)


def test_a_queue_in_wal_mode_is_converted_and_keeps_its_rows(tmp_path: Path) -> None:
    path, url = tmp_path / "queue.db", sqlite_url(tmp_path, "queue")
    prepare.upgrade("queue", url)
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
        connection.execute("INSERT INTO messages VALUES (1, 'a', 0, '{}', 0, NULL, 0)")
    prepare.upgrade("queue", url)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("SELECT job_id FROM messages").fetchall() == [("a",)]
    assert not (tmp_path / "queue.db-wal").exists()


def test_a_failed_migration_leaves_no_table_behind(tmp_path: Path) -> None:
    """A table of another program is in the way of the second one that is made."""
    path, url = tmp_path / "queue.db", sqlite_url(tmp_path, "queue")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE dead_messages (somebody_elses INTEGER)")
    with pytest.raises(SettingsError, match="already exists"):
        prepare.upgrade("queue", url)
    assert schema(path) == ["CREATE TABLE dead_messages (somebody_elses INTEGER)"]


def test_two_first_upgrades_at_once_both_succeed(tmp_path: Path) -> None:
    code = "import sys; from services import prepare; prepare.upgrade('queue', sys.argv[1])"
    command_line = [sys.executable, "-c", code, sqlite_url(tmp_path, "queue")]
    environ = {**os.environ, "PYTHONPATH": str(prepare.MIGRATIONS_FOLDER.parent)}
    running = [subprocess.Popen(command_line, env=environ) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert schema(tmp_path / "queue.db")


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_prepare_again_keeps_keys_and_rows(state_folder: Path) -> None:
    keys = content(state_folder / "keys")
    with closing(sqlite3.connect(state_folder / "queue.db")) as connection, connection:
        connection.execute("INSERT INTO messages VALUES (1, 'a', 0, '{}', 0, NULL, 0)")
    environ = {"STATE_FOLDER": str(state_folder), "CLIENT_TOKEN": "x"}
    assert prepare.main(environ) == 0
    assert content(state_folder / "keys") == keys
    with closing(sqlite3.connect(state_folder / "queue.db")) as connection:
        assert connection.execute("SELECT job_id FROM messages").fetchall() == [("a",)]


def test_every_system_service_has_a_key_pair(prepared_folder: Path) -> None:
    services = [name for name in PORTS if name != "targets"]
    assert set(content(prepared_folder / "keys")) == {
        *(f"private/{name}/signing.pem" for name in services),
        *(f"public/{name}.json" for name in services),
        "private/control-plane/audit.pem",
        "public/.lock",
    }


@pytest.mark.skipif(os.name != "posix", reason="file modes are a POSIX matter")
def test_private_keys_and_databases_are_for_their_owner_only(prepared_folder: Path) -> None:
    """K1: state database 600."""
    keys = prepared_folder / "keys"
    files = [*prepared_folder.glob("*.db"), *keys.rglob("*.pem")]
    assert len(files) > 7
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for path in (keys, keys / "private", *(keys / "private").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


def test_a_database_of_a_newer_program_is_one_line_and_78(
    state_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(state_folder / "sessions.db")) as connection, connection:
        connection.execute("UPDATE alembic_version_sessions SET version_num = '9999'")
    assert prepare.main({"STATE_FOLDER": str(state_folder)}) == 78
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the database of sessions doesn't fit this program" in said
    assert "9999" in said
