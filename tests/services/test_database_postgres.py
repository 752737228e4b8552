"""PostgreSQL under the services: what several processes do at once, and what its errors mean."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from postgres_jobs import add_job, at_once
from service_backends import servers_only
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.control_plane import store
from services.kit import engines
from services.kit.database import Database
from services.kit.engines import is_unavailable
from services.model_router import store as usage
from services.model_router.quotas import Quota

if TYPE_CHECKING:
    from collections.abc import Callable

    from service_backends import Backend
    from sqlalchemy import Connection

    Opened = Callable[[str], Database]

pytestmark = [pytest.mark.docker, servers_only]

PROCESSES = 4
NOON = "2026-11-20T12:00:00.000Z"


def test_one_key_makes_one_job_however_many_send_it(opened: Opened) -> None:
    processes = [opened("control-plane") for _ in range(PROCESSES)]
    for number in range(10):
        key = f"key-{number}"
        answers = at_once(*(lambda one=one, key=key: add_job(one, key) for one in processes))
        assert len({job_id for job_id, _ in answers}) == 1
        assert sorted(created for _, created in answers) == [False, False, False, True]


def test_numbers_of_jobs_are_in_the_order_of_commits(opened: Opened) -> None:
    """Whoever reads on from a number must not miss one that is committed later."""
    first, second, reader = (opened("control-plane") for _ in range(3))
    seen: list[int] = []

    def submit(database: Database, name: str) -> None:
        for number in range(25):
            add_job(database, f"{name}-{number}")

    def read() -> None:
        while len(seen) < 50:
            with reader.reading() as connection:
                values = {"after": seen[-1] if seen else 0}
                query = text("SELECT number FROM jobs WHERE number > :after ORDER BY number")
                seen.extend(connection.execute(query, values).scalars())

    at_once(lambda: submit(first, "a"), lambda: submit(second, "b"), read)
    assert len(set(seen)) == 50


def test_an_execution_is_counted_once_and_by_one_of_two(
    opened: Opened,
) -> None:
    processes = [opened("control-plane") for _ in range(PROCESSES)]
    job_id, _ = add_job(processes[0], "key")

    def begin(database: Database) -> Any:
        return database.write(lambda found: store.begin_execution(found, job_id, 1))

    at_once(*(lambda one=one: begin(one) for one in processes))
    with processes[0].reading() as connection:
        assert store.read_job(connection, job_id).attempts == 1


def test_versions_of_states_have_no_gap_and_no_twin(backend: Backend, opened: Opened) -> None:
    from services.memory_engine.schemas import NewState
    from services.memory_engine.states import put_state

    processes = [opened("memory-engine") for _ in range(PROCESSES)]

    def write(database: Database) -> list[int]:
        state = NewState(value={"a": 1}, expected_version=None)
        return [put_state("key", state, database, "executor").version for _ in range(10)]

    answers = at_once(*(lambda one=one: write(one) for one in processes))
    assert sorted(version for found in answers for version in found) == [*range(1, 41)]
    assert backend.sql("memory-engine", "SELECT count(*) FROM states") == [(40,)]


def test_versions_of_documents_have_no_gap_and_no_twin(
    opened: Opened,
) -> None:
    from services.memory_engine.schemas import NewText
    from services.memory_engine.texts import put_document

    processes = [opened("memory-engine") for _ in range(PROCESSES)]

    def write(database: Database, name: int) -> list[int]:
        texts = [NewText(content=f"{name}-{number}") for number in range(10)]
        return [put_document("key", one, database, "executor").version for one in texts]

    answers = at_once(*(lambda one=one, n=n: write(one, n) for n, one in enumerate(processes)))
    assert sorted(version for found in answers for version in found) == [*range(1, 41)]


def test_the_last_tokens_of_a_quota_are_given_out_once(opened: Opened) -> None:
    """C5."""
    processes = [opened("model-router") for _ in range(PROCESSES)]
    for workspace in map(str, range(10)):
        usage.set_quota(processes[0], workspace, Quota(10, 10**9), NOON)
        run = usage.Run(workspace, "primary", None, "0" * 64, 4, 6, 1, NOON)
        charges = (lambda one=one, run=run: usage.charge(one, run) for one in processes)
        answers = at_once(*charges)
        assert sum(isinstance(answer, usage.Standing) for answer in answers) == 1
        standing, runs = usage.usage(processes[0], workspace, NOON)
        assert (standing.used.tokens_today, len(runs)) == (10, 1)


def test_writers_of_different_services_do_not_wait_for_each_other(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_MILLISECONDS", 200)
    control, memory, other = opened("control-plane"), opened("memory-engine"), opened("sessions")
    with control.writing(), memory.writing(), other.writing():
        pass
    with control.writing(), pytest.raises(DBAPIError, match="lock timeout") as caught:
        opened("control-plane").write(lambda connection: connection)
    assert is_unavailable(caught.value)


def test_a_read_is_one_snapshot(opened: Opened) -> None:
    database = opened("control-plane")
    count = text("SELECT count(*) FROM jobs")
    with database.reading() as connection:
        before = connection.execute(count).scalar_one()
        add_job(opened("control-plane"), "key")
        assert connection.execute(count).scalar_one() == before


@pytest.mark.parametrize(
    ("statement", "passing"),
    [
        ("SELECT * FROM no_such_table", False),
        ("SELECT 1 / 0", False),
        ("SET LOCAL statement_timeout = 1; SELECT pg_sleep(1)", True),
        ("SET TRANSACTION READ ONLY; DELETE FROM jobs", True),
        ("SELECT pg_terminate_backend(pg_backend_pid())", True),
    ],
)
def test_only_what_passes_by_itself_is_unavailable(
    opened: Opened, statement: str, passing: object
) -> None:
    """503 for an outage, 500 for a bug: one must not look like the other."""

    def work(connection: Connection) -> None:
        for part in statement.split("; "):
            connection.exec_driver_sql(part)

    with pytest.raises(DBAPIError) as caught:
        opened("control-plane").write(work)
    assert is_unavailable(caught.value) == passing


def test_too_many_connections_are_unavailable(backend: Backend) -> None:
    name = backend.settings("control-plane").database_url.rpartition("/")[2]
    assert backend.servers is not None
    # Limits don't hold for superusers, as the tests' own user is.
    backend.servers.administer("DROP ROLE IF EXISTS plain")
    backend.servers.administer("CREATE ROLE plain LOGIN PASSWORD 'plain' CONNECTION LIMIT 0")
    url = f"postgresql+psycopg://plain:plain@127.0.0.1:{backend.servers.postgres.port}/{name}"
    database = Database(url, "control-plane")
    with pytest.raises(DBAPIError, match="too many connections") as caught:
        database.write(lambda connection: connection)
    assert is_unavailable(caught.value)
    database.close()


def test_a_pool_that_is_used_up_is_an_error_in_bounded_time(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "POOL_CONNECTIONS", 1)
    monkeypatch.setattr(engines, "POOL_WAIT_SECONDS", 0.1)
    database = opened("control-plane")
    with database.reading():
        assert database.connections_in_use() == 1
        with pytest.raises(PoolTimeoutError), database.reading():
            pass


def test_readiness_writes(backend: Backend, opened: Opened) -> None:
    """A server that only reads (a standby, a full disk) is not ready."""
    database = opened("control-plane")

    async def ready() -> None:
        await database.ready_check("jobs")()

    asyncio.run(ready())
    name = backend.settings("control-plane").database_url.rpartition("/")[2]
    assert backend.servers is not None
    backend.servers.administer(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    database.close()
    with pytest.raises(DBAPIError, match="read-only"):
        asyncio.run(ready())


def test_writers_see_what_was_committed_while_they_waited_whatever_the_default(
    backend: Backend, opened: Opened
) -> None:
    """Under repeatable read the wait for the lock itself would take the snapshot."""
    assert backend.servers is not None
    backend.servers.administer(
        "ALTER ROLE proof SET default_transaction_isolation = 'repeatable read'"
    )
    try:
        database = opened("control-plane")
        for _ in range(2):  # also after a reader had the connection
            with database.writing() as connection:
                shown = connection.execute(text("SHOW transaction_isolation")).scalar_one()
            assert shown == "read committed"
            with database.reading() as connection:
                shown = connection.execute(text("SHOW transaction_isolation")).scalar_one()
            assert shown == "repeatable read"
    finally:
        backend.servers.administer("ALTER ROLE proof RESET default_transaction_isolation")


def test_a_search_holds_a_part_of_the_vectors_at_a_time(backend: Backend, opened: Opened) -> None:
    from services.memory_engine import vectors

    database = opened("memory-engine")
    backend.sql(
        "memory-engine",
        "INSERT INTO vectors (vector_id, dimensions, unit_values, metadata, created_at) "
        "SELECT 'v' || n, 1, decode('000000000000f03f', 'hex'), '{}', :now "
        "FROM generate_series(1, 1200) AS n",
        now=NOON,
    )
    cursors: list[str] = []

    def note(_connection: Any, cursor: Any, *_: Any) -> None:
        cursors.append(type(cursor).__name__)

    event.listen(database.engine, "after_cursor_execute", note)
    assert len(list(vectors._scores(database, [1.0]))) == 1200
    assert cursors == ["ServerCursor"]
