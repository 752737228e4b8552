"""stack.persistence_postgres: the database is asked inside its own container (P6)."""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from fakes.system import write_stack

from common.cli import ScriptError
from stack.compose.engine import Engine, ask, connect
from stack.load import load_stack
from stack.model import Store, Workload
from stack.persistence import stored_results

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.docker

IMAGE = os.environ.get("POSTGRES_IMAGE", "postgres:17")
CONTENT = "what was stored"
DIGEST = hashlib.sha256(CONTENT.encode()).hexdigest()
EVIL = ["x'; DROP TABLE results; --", "$(id)", "`id`", "\\'", "a\nb", ":'job_id'", "ü ☃", ""]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = connect(os.environ)
    yield made
    made.close()


def in_container(engine: Engine, identity: str, *command: str) -> str:
    made = ask(lambda: engine.api.exec_create(identity, list(command)))
    output: bytes = ask(lambda: engine.api.exec_start(made["Id"]))
    assert ask(lambda: engine.api.exec_inspect(made["Id"]))["ExitCode"] == 0, output
    return output.decode()


def sql(engine: Engine, identity: str, text: str) -> str:
    command = ("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "proof", "-d", "proof", "-c", text)
    return in_container(engine, identity, *command)


@pytest.fixture(scope="module")
def database(engine: Engine) -> Iterator[str]:
    """A PostgreSQL with three tables; removed at the end."""
    variables = {"POSTGRES_USER": "proof", "POSTGRES_DB": "proof", "POSTGRES_PASSWORD": "x" * 20}
    name = f"hb-postgres-{uuid.uuid4().hex[:8]}"
    made = ask(lambda: engine.api.create_container(IMAGE, name=name, environment=variables))
    identity = str(made["Id"])
    try:
        ask(lambda: engine.api.start(identity))
        wait_until_ready(engine, identity)
        sql(engine, identity, "CREATE TABLE results (job_id text, content text, raw bytea)")
        sql(engine, identity, "CREATE TABLE by_uuid (job_id uuid, content text)")
        yield identity
    finally:
        ask(lambda: engine.api.remove_container(identity, v=True, force=True))


def wait_until_ready(engine: Engine, identity: str) -> None:
    """Over TCP: the socket answers while the database is still being made."""
    command = "until pg_isready -q -h 127.0.0.1; do sleep 0.1; done"
    in_container(engine, identity, "timeout", "60", "sh", "-c", command)


@pytest.fixture
def store(engine: Engine, database: str) -> Store:
    sql(engine, database, "TRUNCATE results, by_uuid")
    return Store("db", "postgres", "postgresql://proof@postgres/proof", database, dict(os.environ))


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    return load_stack(write_stack(tmp_path), {}).workload


def insert(engine: Engine, store: Store, job_id: str, content: str | None) -> None:
    quoted = "NULL" if content is None else "'" + content.replace("'", "''") + "'"
    job = job_id.replace("'", "''")
    sql(engine, store.container, f"INSERT INTO results VALUES ('{job}', {quoted}, {quoted}::bytea)")  # noqa: S608 - a test's own values


def test_one_row_with_the_right_content_agrees(
    engine: Engine, store: Store, workload: Workload
) -> None:
    insert(engine, store, "a", CONTENT)
    insert(engine, store, "b", "other")
    insert(engine, store, "c", CONTENT)
    insert(engine, store, "c", CONTENT)
    digests = dict.fromkeys("abcd", DIGEST)
    assert stored_results(store, workload, digests) == {
        "a": (1, True),
        "b": (1, False),
        "c": (2, True),
        "d": (0, False),
    }


def test_bytes_are_compared_as_bytes(engine: Engine, store: Store, workload: Workload) -> None:
    insert(engine, store, "a", CONTENT)
    query = "SELECT raw FROM results WHERE job_id = :job_id;"
    found = stored_results(store, replace(workload, store_query=query), {"a": DIGEST})
    assert found == {"a": (1, True)}


def test_a_query_may_compare_with_other_types(
    engine: Engine, store: Store, workload: Workload
) -> None:
    job_id = str(uuid.uuid4())
    sql(engine, store.container, f"INSERT INTO by_uuid VALUES ('{job_id}', 'x')")  # noqa: S608 - a test's own values
    query = "SELECT content::text FROM by_uuid WHERE job_id = :job_id"
    wanted = replace(workload, store_query=query, store_compare="exists")
    assert stored_results(store, wanted, {job_id: None}) == {job_id: (1, True)}


@pytest.mark.parametrize("job_id", EVIL)
def test_a_hostile_job_id_is_only_a_value(
    engine: Engine, store: Store, workload: Workload, job_id: str
) -> None:
    """Job ids come from the system under proof."""
    insert(engine, store, job_id, CONTENT)
    assert stored_results(store, workload, {job_id: DIGEST, "no": DIGEST}) == {
        job_id: (1, True),
        "no": (0, False),
    }


def test_a_thousand_jobs_are_found(engine: Engine, store: Store, workload: Workload) -> None:
    statement = "INSERT INTO results SELECT 'job-' || n, 'v' || n FROM generate_series(1, 1000) n"
    sql(engine, store.container, statement)
    wanted = {f"job-{n}": hashlib.sha256(f"v{n}".encode()).hexdigest() for n in range(1, 1001)}
    assert set(stored_results(store, workload, wanted).values()) == {(1, True)}


def test_looking_changes_nothing(engine: Engine, store: Store, workload: Workload) -> None:
    insert(engine, store, "a", CONTENT)
    writes = "SELECT set_config('x.y', :job_id, false)"
    evil = "WITH gone AS (DELETE FROM results RETURNING 1) SELECT 1 FROM gone WHERE 'a' = :job_id"
    assert stored_results(store, replace(workload, store_query=writes), {"a": DIGEST})
    with pytest.raises(ScriptError, match="can't read the store db at postgresql"):
        stored_results(store, replace(workload, store_query=evil), {"a": DIGEST})
    assert sql(engine, store.container, "SELECT count(*) FROM results").strip() == "1"


@pytest.mark.parametrize(
    ("change", "query", "says"),
    [
        ({"location": "postgresql://nobody@postgres/proof"}, "", 'role "nobody" does not exist'),
        ({"location": "postgresql://proof@postgres/none"}, "", 'database "none" does not exist'),
        ({}, "SELECT x FROM nothing WHERE id = :job_id", 'relation "nothing" does not exist'),
        ({}, "SELECT 1 WHERE :job_id <> ''; SELECT 2", "can't read the store db"),
        ({"container": ""}, "", "no container of postgres"),
        ({"container": "hb-never-was"}, "", "No such container: hb-never-was"),
    ],
)
def test_a_store_that_can_not_be_read_is_one_line(
    store: Store, workload: Workload, change: dict[str, str], query: str, says: str
) -> None:
    broken = replace(store, **change)  # type: ignore[arg-type]  # texts only
    wanted = replace(workload, store_query=query or workload.store_query)
    with pytest.raises(ScriptError, match=says) as caught:
        stored_results(broken, wanted, {"a": DIGEST})
    assert "\n" not in str(caught.value)


def test_a_container_without_psql_is_named(
    engine: Engine, store: Store, workload: Workload
) -> None:
    from fakes.compose import PYTHON_IMAGE

    made = ask(lambda: engine.api.create_container(PYTHON_IMAGE, ["sleep", "60"]))["Id"]
    try:
        ask(lambda: engine.api.start(made))
        with pytest.raises(ScriptError, match="no psql in its container"):
            stored_results(replace(store, container=made), workload, {"a": DIGEST})
    finally:
        ask(lambda: engine.api.remove_container(made, force=True))
