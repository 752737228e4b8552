"""A server that goes and comes under load: nothing acknowledged is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from postgres_jobs import add_job, at_once, new_job
from service_backends import servers_only
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from services.control_plane import store
from services.control_plane.outbox import Outbox
from services.kit.background import beside
from services.kit.engines import is_unavailable
from services.queue import open_queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from service_backends import Backend
    from service_protocols import Eventually
    from sqlalchemy import Connection

    from services.kit.database import Database

    Opened = Callable[[str], Database]

pytestmark = [pytest.mark.docker, servers_only]


def test_work_that_was_undone_by_a_lost_connection_is_done_again(
    backend: Backend, opened: Opened
) -> None:
    database = opened("control-plane")
    tries: list[int] = []

    def work(connection: Connection) -> str:
        tries.append(1)
        job, _created = store.add_job(connection, new_job(), "key")
        if len(tries) == 1:
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            backend.sql("control-plane", "SELECT pg_terminate_backend(:pid)", pid=pid)
        connection.exec_driver_sql("SELECT 1")
        return job.id

    job_id = database.write(work)
    assert len(tries) == 2
    assert backend.sql("control-plane", "SELECT job_id FROM jobs") == [(job_id,)]


def test_a_commit_without_an_answer_is_not_repeated(backend: Backend, opened: Opened) -> None:
    """Nobody knows whether it happened: to do it again could double it."""
    database = opened("control-plane")
    tries: list[int] = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.execute(text("INSERT INTO workspaces VALUES ('w', 'name', '')"))
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        backend.sql("control-plane", "SELECT pg_terminate_backend(:pid)", pid=pid)

    with pytest.raises(DBAPIError) as caught:
        database.write(work)
    assert is_unavailable(caught.value)
    assert len(tries) == 1


def test_a_connection_that_died_in_the_pool_is_replaced(backend: Backend, opened: Opened) -> None:
    database = opened("control-plane")
    count = text("SELECT count(*) FROM jobs")
    with database.reading() as connection:
        connection.execute(count)
    backend.sql(
        "control-plane",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    with database.reading() as connection:
        assert connection.execute(count).scalar_one() == 0


def test_a_commit_is_synced_whatever_the_servers_default(
    opened: Opened,
) -> None:
    with opened("control-plane").writing() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_no_acknowledged_job_is_lost_or_doubled_over_a_restart(
    backend: Backend, opened: Opened, how: str
) -> None:
    """Issue 3: PostgreSQL restarted under load; clients repeat with their key what failed."""
    assert backend.servers is not None
    database, submitted = opened("control-plane"), {}
    before, after = threading.Event(), threading.Event()

    def submit(name: str) -> None:
        number = 0
        while not after.is_set() or number < 40:
            key = f"{name}-{number}"
            try:
                submitted[key] = add_job(database, key)[0]
            except DBAPIError as problem:
                assert is_unavailable(problem), problem  # noqa: PT017 - the kind is what is tested
            else:
                number += 1
            if number > 10:
                before.set()

    def restart() -> None:
        assert backend.servers is not None
        assert before.wait(30)
        getattr(backend.servers.postgres, how)()
        backend.servers.until_ready()
        after.set()

    at_once(lambda: submit("a"), lambda: submit("b"), restart)
    rows = dict(backend.sql("control-plane", "SELECT idempotency_key, job_id FROM jobs"))
    assert rows == submitted
    assert len(rows) >= 80


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_every_job_is_published_over_a_restart_of_the_queue(
    backend: Backend, opened: Opened, eventually: Eventually, how: str
) -> None:
    """Issue 3: Redis restarted under load."""
    assert backend.servers is not None
    database = opened("control-plane")
    outbox = Outbox(database, open_queue(backend.settings("control-plane").queue_url))

    async def publish() -> None:
        async with beside(outbox.run()):
            restart = asyncio.create_task(asyncio.to_thread(getattr(backend.servers.redis, how)))  # type: ignore[union-attr]
            for number in range(60):
                await asyncio.to_thread(add_job, database, f"key-{number}")
                outbox.wake()
            await restart
            query = "SELECT 1 FROM jobs WHERE NOT published"
            await asyncio.to_thread(eventually, lambda: not backend.sql("control-plane", query))

    asyncio.run(publish())
    backend.servers.until_ready()
    jobs = {row[0] for row in backend.sql("control-plane", "SELECT job_id FROM jobs")}
    queued = [message.job_id for message in backend.queued()]
    assert len(queued) == len(jobs) == 60
    assert set(queued) == jobs
