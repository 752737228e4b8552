"""Run the revisions of one database in one transaction (started by services.prepare).

All databases share this file; each has its revisions in a folder of its name, and a
version table of its name, so that several may live in one PostgreSQL database.
"""

from alembic import context
from sqlalchemy import text

from services.kit.database import Database
from services.queue.sqlite import JOURNAL_MODE


def run() -> None:
    name = context.config.attributes["database"]
    # A queue that an older version made in WAL mode is converted here.
    journal_mode = JOURNAL_MODE if name == "queue" else "WAL"
    database = Database(context.config.attributes["database_url"], name, journal_mode)
    try:
        # The transaction is ours and takes the write lock first: two first upgrades at
        # once can't race, and a revision that fails leaves no table behind.
        with database.writing() as connection:
            if connection.dialect.name == "postgresql":
                # A table of millions of rows takes as long as it takes.
                connection.execute(text("SET LOCAL statement_timeout = 0"))
            context.configure(
                connection=connection,
                version_table=f"alembic_version_{name.replace('-', '_')}",
                transactional_ddl=True,
            )
            with context.begin_transaction():
                context.run_migrations()
    finally:
        database.close()


run()
