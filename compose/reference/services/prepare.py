"""Make what the services need before their first start: keys and database tables. Idempotent."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from services.kit.keys import make_key_pairs
from services.kit.settings import Settings, SettingsError, refuse_start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alembic.config import Config

MIGRATIONS_FOLDER = Path(__file__).resolve().parents[1] / "migrations"
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
        SettingsError: a variable is missing, or the state folder can't be written.
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

    try:
        command.upgrade(alembic_config(database, url), revision)
    except OperationalError as problem:
        raise SettingsError(f"can't open the database of {database}: {problem.orig}") from problem


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
