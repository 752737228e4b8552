"""The services' role is no superuser, whatever it was before; `prepare` makes it each time."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from postgres_jobs import at_once
from service_backends import servers_only
from service_servers import PASSWORD
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from services import prepare
from services.database_role import administrator_url, make_role
from services.kit.database import Database
from services.kit.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service_backends import Backend
    from service_servers import Servers

ROLE = "plain%role"
URL = "postgresql+psycopg://proof:x@postgres/proof"


@pytest.fixture
def environ(backend: Backend) -> Iterator[dict[str, str]]:
    """An empty database, an administrator, and a role of the services' that isn't there yet."""
    servers = backend.servers
    assert servers is not None
    with servers.own_database("template0") as name:
        address = f"127.0.0.1:{servers.postgres.port}/{name}"
        yield {
            **{key: text for key, text in backend.environ.items() if key != "CLIENT_TOKEN"},
            "DATABASE_URL": f"postgresql+psycopg://{ROLE.replace('%', '%25')}@{address}",
            "DATABASE_PASSWORD": "first%'password",
            "DATABASE_ADMIN_USER": "proof",
            "DATABASE_ADMIN_PASSWORD": PASSWORD,
        }
    servers.administer(f'DROP ROLE IF EXISTS "{ROLE}"')


def asked(environ: dict[str, str], query: str) -> Any:
    url = prepare.database_url("control-plane", environ)
    with closing(Database(url, "control-plane")) as database, database.writing() as connection:
        return connection.execute(text(query)).fetchall()


@pytest.mark.docker
@servers_only
def test_the_role_owns_its_tables_and_may_run_no_program(
    environ: dict[str, str], backend: Backend
) -> None:
    servers: Servers | None = backend.servers
    assert servers is not None
    for password in ("first%'password", "second"):
        environ["DATABASE_PASSWORD"] = password
        assert prepare.main(environ) == 0
        assert asked(environ, "SELECT count(*) FROM jobs") == [(0,)]
        servers.administer(f'ALTER ROLE "{ROLE}" SUPERUSER CREATEROLE CREATEDB')
    assert prepare.main(environ) == 0
    rights = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = user"
    assert asked(environ, rights) == [(False, False, False)]
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert asked(environ, owners) == [(ROLE,)]
    with pytest.raises(ProgrammingError, match="permission denied"):
        asked(environ, "COPY jobs FROM PROGRAM 'id'")


@pytest.mark.docker
@servers_only
def test_two_at_once_both_succeed(environ: dict[str, str]) -> None:
    services_url = prepare.database_url("control-plane", environ)
    administrator = administrator_url(environ, services_url)
    at_once(*[lambda: make_role(administrator, services_url)] * 3)
    assert asked(environ, "SELECT 1") == [(1,)]


@pytest.mark.docker
@servers_only
def test_a_wrong_administrators_password_is_one_line_and_78(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare.main({**environ, "DATABASE_ADMIN_PASSWORD": "wrong"}) == 78
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "check DATABASE_ADMIN_PASSWORD" in said


def test_without_an_administrator_there_is_none() -> None:
    assert administrator_url({}, URL) == ""


@pytest.mark.parametrize(
    ("user", "password", "url", "wanted"),
    [
        ("postgres", "", URL, "DATABASE_ADMIN_PASSWORD is not set"),
        ("", "x", URL, "DATABASE_ADMIN_USER is not set"),
        ("proof", "x", URL, "expected another role"),
        ("postgres", "x", "sqlite:////state/control-plane.db", "expected a DATABASE_URL"),
        ("postgres", "x", URL.replace(":x", ""), "and DATABASE_PASSWORD"),
    ],
)
def test_half_an_administrator_is_refused(user: str, password: str, url: str, wanted: str) -> None:
    environ = {"DATABASE_ADMIN_USER": user, "DATABASE_ADMIN_PASSWORD": password}
    with pytest.raises(SettingsError, match=wanted):
        administrator_url(environ, url)
