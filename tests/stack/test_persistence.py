"""stack.persistence: the store itself is asked, and what differs is found (P6)."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.system import write_stack

from common.cli import ScriptError
from stack.load import load_stack
from stack.model import Store, Workload
from stack.persistence import stored_results

CONTENT = "what was stored"
DIGEST = hashlib.sha256(CONTENT.encode()).hexdigest()


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    return load_stack(write_stack(tmp_path), {}).workload


def store_of(folder: Path, *rows: tuple[str, str | bytes | None]) -> Store:
    path = folder / "results.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE results (job_id TEXT, content)")
        database.executemany("INSERT INTO results VALUES (?, ?)", rows)
    return Store("results", "sqlite", str(path))


def test_one_row_with_the_right_content_agrees(tmp_path: Path, workload: Workload) -> None:
    store = store_of(tmp_path, ("a", CONTENT), ("b", CONTENT.encode()))
    assert stored_results(store, workload, {"a": DIGEST, "b": DIGEST}) == {
        "a": (1, True),
        "b": (1, True),
    }


@pytest.mark.parametrize(
    ("rows", "digest", "expected"),
    [
        ([], DIGEST, (0, False)),
        ([("a", "other")], DIGEST, (1, False)),
        ([("a", CONTENT), ("a", CONTENT)], DIGEST, (2, True)),
        ([("a", CONTENT)], None, (1, False)),
        ([("a", None)], DIGEST, (1, False)),
    ],
)
def test_a_missing_other_or_second_row_is_seen(
    tmp_path: Path,
    workload: Workload,
    rows: list[tuple[str, str | None]],
    digest: str | None,
    expected: tuple[int, bool],
) -> None:
    store = store_of(tmp_path, *rows)
    assert stored_results(store, workload, {"a": digest})["a"] == expected


@pytest.mark.parametrize(
    ("compare", "row", "agrees"),
    [
        ("equal", ("abc", "abc"), True),
        ("equal", ("abc", "abd"), False),
        ("exists", ("anything", None), True),
        ("exists", (None, None), False),
    ],
)
def test_the_other_ways_to_compare(
    tmp_path: Path,
    workload: Workload,
    compare: str,
    row: tuple[str | None, str | None],
    agrees: bool,  # noqa: FBT001 - a table of cases
) -> None:
    stored, digest = row
    store = store_of(tmp_path, ("a", stored))
    found = stored_results(store, replace(workload, store_compare=compare), {"a": digest})
    assert found["a"] == (1, agrees)


@pytest.mark.parametrize("fault", ["missing", "no database", "no table", "kind"])
def test_a_store_that_can_not_be_read_is_one_line(
    tmp_path: Path, workload: Workload, fault: str
) -> None:
    store = store_of(tmp_path, ("a", CONTENT))
    path = Path(store.location)
    if fault == "missing":
        path.unlink()
    elif fault == "no database":
        path.write_bytes(b"no database at all" * 100)
    elif fault == "no table":
        workload = replace(workload, store_query="SELECT x FROM nothing WHERE id = :job_id")
    else:
        store = replace(store, kind="directory")
    with pytest.raises(ScriptError, match="the store results"):
        stored_results(store, workload, {"a": DIGEST})


def test_looking_changes_nothing(tmp_path: Path, workload: Workload) -> None:
    store = store_of(tmp_path, ("a", CONTENT))
    evil = replace(workload, store_query="DELETE FROM results WHERE job_id = :job_id")
    with pytest.raises(ScriptError, match="readonly"):
        stored_results(store, evil, {"a": DIGEST})
