"""Migrations and preparation on servers: up, down, at once; refusals are one clear line (C8)."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from alembic import command
from service_backends import servers_only
from service_servers import PASSWORD
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services import prepare
from services.kit import database as kit_database
from services.kit.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service_backends import Backend
    from service_servers import Servers

pytestmark = [pytest.mark.docker, servers_only]


@contextmanager
def empty_database(servers: Servers) -> Iterator[str]:
    with servers.own_database("template0") as name:
        address = f"127.0.0.1:{servers.postgres.port}/{name}"
        yield f"postgresql+psycopg://proof:{quote(PASSWORD, safe='')}@{address}"


def tables(url: str) -> list[tuple[Any, ...]]:
    database = Database(url, "memory-engine")
    query = text("""
        SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT LIKE 'alembic%' ORDER BY 1, 2
    """)
    with database.reading() as connection:
        found = [tuple(row) for row in connection.execute(query)]
    database.close()
    return found


@pytest.mark.parametrize("name", ["memory-engine", "control-plane", "sessions", "model-router"])
def test_up_down_up_gives_the_same_tables(backend: Backend, name: str) -> None:
    """C8."""
    assert backend.servers is not None
    with empty_database(backend.servers) as url:
        prepare.upgrade(name, url)
        made = tables(url)
        assert made
        command.downgrade(prepare.alembic_config(name, url), "base")
        assert tables(url) == []
        prepare.upgrade(name, url)
        assert tables(url) == made


def test_two_first_upgrades_at_once_both_succeed(backend: Backend) -> None:
    assert backend.servers is not None
    code = "import sys; from services import prepare; prepare.upgrade('control-plane', sys.argv[1])"
    environ = {**os.environ, "PYTHONPATH": str(prepare.MIGRATIONS_FOLDER.parent)}
    with empty_database(backend.servers) as url:
        command_line = [sys.executable, "-c", code, url]
        running = [subprocess.Popen(command_line, env=environ) for _ in range(3)]
        assert [process.wait() for process in running] == [0, 0, 0]
        assert tables(url)


def test_a_failed_migration_leaves_no_table_behind(backend: Backend) -> None:
    assert backend.servers is not None
    with empty_database(backend.servers) as url:
        database = Database(url, "memory-engine")
        database.write(lambda one: one.execute(text("CREATE TABLE states (somebody_elses INT)")))
        database.close()
        with pytest.raises(DBAPIError, match="already exists"):
            prepare.upgrade("memory-engine", url)
        assert [row[:2] for row in tables(url)] == [("states", "somebody_elses")]


def refused(backend: Backend, capsys: pytest.CaptureFixture[str], **changes: str) -> str:
    assert prepare.main({**backend.environ, **changes}) == 78
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_wrong_password_is_one_line_and_78(
    backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    """Issue 3: one clear line each, at once: waiting doesn't mend them."""
    said = refused(backend, capsys, DATABASE_PASSWORD="wrong")
    assert "can't open the database of memory-engine: password authentication failed" in said
    assert "check DATABASE_PASSWORD" in said
    said = refused(backend, capsys, QUEUE_PASSWORD="wrong")
    assert "refuses the password" in said
    assert "check QUEUE_PASSWORD" in said


def test_a_database_that_is_not_there_is_one_line_and_78(
    backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    url = backend.environ["DATABASE_URL"].rpartition("/")[0] + "/nowhere"
    assert '"nowhere" does not exist' in refused(backend, capsys, DATABASE_URL=url)


def test_a_server_that_never_comes_is_waited_for_within_a_bound(
    backend: Backend, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(kit_database, "ATTEMPTS", 1)
    away = "postgresql+psycopg://proof@127.0.0.1:1/proof"
    assert "start the server" in refused(backend, capsys, DATABASE_URL=away)
    assert "start the server" in refused(backend, capsys, QUEUE_URL="redis://127.0.0.1:1/0")


def test_a_server_that_is_late_is_waited_for(backend: Backend) -> None:
    assert backend.servers is not None
    backend.servers.postgres.container.stop(timeout=10)
    starting = threading.Timer(2.0, backend.servers.postgres.container.start)
    starting.start()
    assert prepare.main(backend.environ) == 0
    starting.join()


def test_a_database_of_a_newer_program_is_one_line_and_78(
    backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.sql("sessions", "UPDATE alembic_version_sessions SET version_num = '9999'")
    assert "the database of sessions doesn't fit this program" in refused(backend, capsys)


def test_a_user_who_may_make_no_tables_is_one_line_and_78(
    backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a database that somebody else owns, from PostgreSQL 15 on."""
    assert backend.servers is not None
    backend.servers.administer("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    try:
        with empty_database(backend.servers) as url:
            address = url.rpartition("@")[2]
            said = refused(
                backend,
                capsys,
                DATABASE_URL=f"postgresql+psycopg://guest@{address}",
                DATABASE_PASSWORD="guest",
            )
    finally:
        backend.servers.administer("DROP ROLE guest")
    assert "permission denied for schema public: make the user owner" in said
