"""Make what the services need before their first start: keys, policy, role, tables. Idempotent.

Servers that are still starting are waited for, within a bound; a server that refuses us
(wrong password, no such database) is not: that is one clear line and exit code 78.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from services.kit.environment import secret
from services.kit.rotation import make_keys
from services.kit.settings import (
    SettingsError,
    find_database_url,
    find_keys_folder,
    find_policies_folder,
    find_queue_url,
    refuse_start,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alembic.config import Config
    from sqlalchemy.exc import DBAPIError

MIGRATIONS_FOLDER = Path(__file__).resolve().parents[1] / "migrations"
WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
# What PostgreSQL says to whom it doesn't know: waiting doesn't mend it.
_REFUSALS = ("authentication failed", "no password supplied", "does not exist", "pg_hba.conf")
# SQLSTATE: no privilege, no schema that the user may use.
_NO_RIGHT = frozenset({"42501", "3F000"})
_ADMINISTRATOR = ("USER", "PASSWORD", "PASSWORD_FILE")
DATABASES = ("memory-engine", "control-plane", "sessions", "model-router", "queue")


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Prepare the state folder; 78 where the configuration is wrong."""
    os.umask(0o077)
    try:
        prepare(environ)
    except SettingsError as problem:
        return refuse_start(problem)
    return 0


def prepare(environ: Mapping[str, str]) -> None:
    """Make missing keys and bring every database to the newest revision.

    Raises:
        SettingsError: a variable is missing or wrong, the state folder can't be written,
            or a server refuses us or didn't answer in time.
    """
    # Not needed here; but where the services share these variables, a wrong one is said now.
    secret(environ, "CLIENT_TOKEN")
    keys_folder = find_keys_folder(environ)
    try:
        make_keys(keys_folder)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise SettingsError(
            f"can't write {keys_folder}: {reason}: choose another STATE_FOLDER"
        ) from problem
    _install_policy(find_policies_folder(environ))
    _make_role(environ)
    for database in DATABASES:
        upgrade(database, database_url(database, environ))
    _wait_for_queue(find_queue_url(environ))


def _install_policy(folder: Path) -> None:
    """Let the tool policy that came with this code be in force."""
    from services.executor.policy.install import install_shipped
    from services.executor.policy.versions import PolicyFilesError

    try:
        install_shipped(folder)
    except PolicyFilesError as problem:
        raise SettingsError(str(problem)) from problem


def database_url(database: str, environ: Mapping[str, str]) -> str:
    """The URL of one database: the queue has its own variable, the others share theirs."""
    if database == "queue":
        return find_queue_url(environ)
    return find_database_url(environ, database)


def _make_role(environ: Mapping[str, str]) -> None:
    """Make the services' role where an administrator is named."""
    if not any(environ.get(f"DATABASE_ADMIN_{name}") for name in _ADMINISTRATOR):
        return
    from services.database_role import administrator_url, make_role

    services_url = find_database_url(environ, "control-plane")
    if administrator := administrator_url(environ, services_url):
        _run(
            "the services' role",
            administrator,
            lambda: make_role(administrator, services_url),
            variable="DATABASE_ADMIN_PASSWORD",
        )


def upgrade(database: str, url: str, revision: str = "head") -> None:
    """Bring one database to `revision`, in one transaction; a queue that isn't SQL needs none.

    Raises:
        SettingsError: the database can't be opened, is a newer program's, or gives its
            user no right to make tables.
    """
    if database == "queue" and not url.startswith("sqlite:"):
        return
    from alembic import command
    from alembic.util import CommandError

    config = alembic_config(database, url)
    try:
        _run(database, url, lambda: command.upgrade(config, revision))
    except CommandError as problem:
        said = " ".join(str(problem).split())
        raise SettingsError(
            f"the database of {database} doesn't fit this program: {said}: "
            "start the version that made it, or a newer one"
        ) from problem


def _run(
    database: str, url: str, work: Callable[[], None], variable: str = "DATABASE_PASSWORD"
) -> None:
    """Do `work`; wait for a server that is starting, say clearly what it refuses."""
    from sqlalchemy.exc import OperationalError, ProgrammingError

    def attempt() -> str:
        try:
            work()
        except OperationalError as problem:
            said = _unopened(database, problem, variable)
            if url.startswith("sqlite:") or not _may_pass(problem):
                raise SettingsError(said) from problem
            return said
        except ProgrammingError as problem:
            if getattr(problem.orig, "sqlstate", None) not in _NO_RIGHT:
                raise
            raise SettingsError(_forbidden(database, problem)) from problem
        return ""

    _wait(attempt)


def _forbidden(database: str, problem: DBAPIError) -> str:
    said = str(problem.orig).strip().partition("\n")[0]
    return (
        f"the database of {database} refuses its user: {said}: "
        "make the user owner of the database and of its schema public"
    )


def _wait(attempt: Callable[[], str]) -> None:
    """Repeat until an attempt has nothing to complain about, within WAIT_SECONDS."""
    deadline = time.monotonic() + WAIT_SECONDS
    while complaint := attempt():
        if time.monotonic() > deadline:
            raise SettingsError(f"{complaint} (waited {WAIT_SECONDS:g} s): start the server")
        time.sleep(_PAUSE_SECONDS)


def _may_pass(problem: DBAPIError) -> bool:
    from services.kit.engines import is_unavailable

    said = str(problem.orig)
    return is_unavailable(problem) and not any(refusal in said for refusal in _REFUSALS)


def _unopened(database: str, problem: DBAPIError, variable: str) -> str:
    """The last and most telling part of what the driver says, in one line."""
    said = " ".join(str(problem.orig).split())
    reason = said.rpartition("FATAL: ")[2].strip().removesuffix(".")
    hint = f": check {variable}" if "password" in reason else ""
    return f"can't open the database of {database}: {reason}{hint}"


def _wait_for_queue(url: str) -> None:
    if url.startswith("sqlite:"):
        return
    import asyncio

    from services.queue import QueueUnavailableError, open_queue

    async def ready() -> None:
        queue = open_queue(url)
        try:
            await queue.ready()
        finally:
            await queue.close()

    def attempt() -> str:
        try:
            asyncio.run(ready())
        except QueueUnavailableError as problem:
            if "password" in str(problem):
                raise SettingsError(str(problem)) from problem
            return str(problem)
        return ""

    _wait(attempt)


def alembic_config(database: str, url: str) -> Config:
    """Alembic's configuration for one database: a shared env.py, revisions of its own."""
    from alembic.config import Config

    config = Config(attributes={"database": database, "database_url": url})
    # ConfigParser reads % as interpolation; folders may hold spaces, never newlines.
    folder, revisions = (
        str(path).replace("%", "%%")
        for path in (MIGRATIONS_FOLDER, MIGRATIONS_FOLDER / database.replace("-", "_"))
    )
    config.set_main_option("script_location", folder)
    config.set_main_option("version_locations", revisions)
    config.set_main_option("path_separator", "newline")
    return config


if __name__ == "__main__":
    sys.exit(main())
