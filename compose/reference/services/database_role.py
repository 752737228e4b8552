"""The services' own role in PostgreSQL: owner of its database, and nothing beyond it.

A superuser may run programs on the database's machine (`COPY … FROM PROGRAM`), so the
services are none. Only `services.prepare` knows the administrator, and only where
DATABASE_ADMIN_USER and DATABASE_ADMIN_PASSWORD are set; elsewhere nothing happens here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import make_url, text

from services.kit.database import Database
from services.kit.environment import SettingsError, secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import URL, Connection

PLAIN = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
_KNOWN = text("SELECT 1 FROM pg_roles WHERE rolname = :role")


def administrator_url(environ: Mapping[str, str], database_url: str) -> str:
    """The services' database as its administrator opens it; "" where no one is named.

    Raises:
        SettingsError: half of the administrator is set, or it is the services' own role,
            or the services' role has no password or there is no server.
    """
    user = environ.get("DATABASE_ADMIN_USER", "").strip()
    password = secret(environ, "DATABASE_ADMIN_PASSWORD")
    if not user and not password:
        return ""
    if not user or not password:
        missing = "DATABASE_ADMIN_PASSWORD" if user else "DATABASE_ADMIN_USER"
        raise SettingsError(f"{missing} is not set: set both, or neither")
    url = make_url(database_url)
    if not (url.username and url.password and url.database):
        raise SettingsError(
            "DATABASE_ADMIN_USER is set: expected a DATABASE_URL with user and database, "
            "and DATABASE_PASSWORD: set them, or no administrator"
        )
    if url.username == user:
        raise SettingsError(
            f"DATABASE_ADMIN_USER: expected another role than the services' own, got {user!r}"
        )
    return url.set(username=user, password=password).render_as_string(hide_password=False)


def make_role(administrator: str, database_url: str) -> None:
    """Make the services' role, or correct it, and give it database and schema; idempotent."""
    database = Database(administrator, "database-role")
    try:
        # A write transaction: runs at once take turns, and all of it happens or nothing.
        with database.writing() as connection:
            _make(connection, make_url(database_url))
    finally:
        database.close()


def _make(connection: Connection, url: URL) -> None:
    assert url.username  # noqa: S101 - `administrator_url` refuses the others
    assert url.database  # noqa: S101
    # Doubles quotes, and the % that would be a place for a parameter.
    quote = connection.dialect.identifier_preparer.quote_identifier
    role, name = quote(url.username), quote(url.database)
    if connection.execute(_KNOWN, {"role": url.username}).first() is None:
        connection.exec_driver_sql(f"CREATE ROLE {role}")
    statements = (
        f"ALTER ROLE {role} WITH {PLAIN} PASSWORD '{_verifier(connection, url)}'",
        f"ALTER DATABASE {name} OWNER TO {role}",
        f"ALTER SCHEMA public OWNER TO {role}",
    )
    for statement in statements:
        connection.exec_driver_sql(statement)


def _verifier(connection: Connection, url: URL) -> str:
    """What SCRAM compares with: the password itself gets into no log of the server."""
    driver = connection.connection.driver_connection
    assert driver is not None  # noqa: S101 - the connection is open
    made: bytes = driver.pgconn.encrypt_password(
        str(url.password).encode(), str(url.username).encode(), b"scram-sha-256"
    )
    return made.decode("ascii")
