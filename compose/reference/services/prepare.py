"""Make what the services need before their first start: keys and database tables. Idempotent.

Servers that are still starting are waited for, within a bound; a server that refuses us
(wrong password, no such database) is not: that is one clear line and exit code 78.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from services.kit.keys import make_key_pairs
from services.kit.settings import Settings, SettingsError, refuse_start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from alembic.config import Config
    from sqlalchemy.exc import DBAPIError

MIGRATIONS_FOLDER = Path(__file__).resolve().parents[1] / "migrations"
WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
# What PostgreSQL says to whom it doesn't know: waiting doesn't mend it.
_REFUSALS = ("authentication failed", "no password supplied", "does not exist", "pg_hba.conf")
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
    settings = Settings.from_environment("control-plane", environ)
    try:
        make_key_pairs(settings.keys_folder)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise SettingsError(
            f"can't write {settings.keys_folder}: {reason}: choose another STATE_FOLDER"
        ) from problem
    for database in DATABASES:
        upgrade(database, database_url(database, environ))
    _wait_for_queue(settings.queue_url)


def database_url(database: str, environ: Mapping[str, str]) -> str:
    """The URL of one database: the queue has its own variable, the others share theirs."""
    if database == "queue":
        return Settings.from_environment("control-plane", environ).queue_url
    return Settings.from_environment(database, environ).database_url


def upgrade(database: str, url: str, revision: str = "head") -> None:
    """Bring one database to `revision`, in one transaction; a queue that isn't SQL needs none.

    Raises:
        SettingsError: the database can't be opened.
    """
    if database == "queue" and not url.startswith("sqlite:"):
        return
    from alembic import command
    from sqlalchemy.exc import OperationalError

    def attempt() -> str:
        try:
            command.upgrade(alembic_config(database, url), revision)
        except OperationalError as problem:
            if url.startswith("sqlite:") or not _may_pass(problem):
                raise SettingsError(_unopened(database, problem)) from problem
            return _unopened(database, problem)
        return ""

    _wait(attempt)


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


def _unopened(database: str, problem: DBAPIError) -> str:
    """The last and most telling part of what the driver says, in one line."""
    said = " ".join(str(problem.orig).split())
    reason = said.rpartition("FATAL: ")[2].strip().removesuffix(".")
    hint = ": check DATABASE_PASSWORD" if "password" in reason else ""
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
