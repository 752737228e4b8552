"""Look for results in the store itself, behind the API (P6)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import ScriptError
from common.hashing import sha256_bytes
from stack.persistence_postgres import postgres_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stack.model import Store, Workload


def stored_results(
    store: Store, workload: Workload, digests: Mapping[str, str | None]
) -> dict[str, tuple[int, bool]]:
    """Query the store for each job.

    Args:
        store: where the store is.
        workload: its query and how a row is compared.
        digests: job id to the digest that the API gave for its result.

    Returns:
        Job id to (number of rows, whether the first row agrees with the digest).

    Raises:
        ScriptError: the store is missing or can't be read, or no reader knows its kind.

    Source: P6.
    """
    if store.kind not in READERS:
        known = ", ".join(READERS)
        raise ScriptError(f"the store {store.name}: expected the kind {known}, got {store.kind}")
    found = READERS[store.kind](store, workload.store_query, digests)
    return {
        job_id: (count, count > 0 and _agrees(first, digests[job_id], workload.store_compare))
        for job_id, (count, first) in found.items()
    }


def _sqlite_rows(store: Store, query: str, job_ids: Iterable[str]) -> dict[str, tuple[int, object]]:
    path = Path(store.location)
    if not path.is_file():
        raise ScriptError(f"the store {store.name} is not there: expected the file {path}")
    found: dict[str, tuple[int, object]] = {}
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as database:
            for job_id in job_ids:
                rows = database.execute(query, {"job_id": job_id}).fetchall()
                found[job_id] = (len(rows), rows[0][0] if rows else None)
    except sqlite3.Error as problem:
        raise ScriptError(f"can't read the store {store.name} at {path}: {problem}") from problem
    return found


# What each kind of store is read with: the number of rows and the first value, by job id.
READERS = {"sqlite": _sqlite_rows, "postgres": postgres_rows}


def _agrees(stored: object, digest: str | None, compare: str) -> bool:
    if compare == "exists":
        return stored is not None
    if digest is None:
        return False
    if compare == "equal":
        return str(stored) == digest
    data = stored if isinstance(stored, bytes) else str(stored).encode()
    return sha256_bytes(data) == digest
