"""Ask PostgreSQL inside its own container: no port, no driver, remote engines too (P6).

`psql` runs over the container's own socket. A job id comes from the system under proof:
it reaches the query as a psql variable, whose value is given byte by byte in hex.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from common.cli import ScriptError
from stack.compose.engine import ask, connect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stack.compose.engine import Engine
    from stack.model import Store

# One environment variable holds at most 128 KiB on Linux.
_SCRIPT_BYTES = 96 << 10
_PARAMETER = re.compile(r"(?<!:):job_id\b")
_NOT_FOUND = 127
# Looking changes nothing, and a locked table ends the look.
_OPTIONS = "-c default_transaction_read_only=on -c statement_timeout=30s"
_PSQL = ("psql", "--no-psqlrc", "--no-password", "-qAt", "-v", "ON_ERROR_STOP=1")
_COLUMN = "proof_pack_value"


def postgres_rows(
    store: Store, query: str, job_ids: Iterable[str]
) -> dict[str, tuple[int, object]]:
    """Number of rows and first value (bytes, text or None) for each job.

    Args:
        store: kind postgres; `location` is postgresql://USER@COMPOSE-SERVICE/DATABASE.
        query: the stack file's, with `:job_id`.
        job_ids: any texts without NUL.

    Raises:
        ScriptError: no such container, role, database or table, or no answer for each job.
    """
    if not store.container:
        host = urlsplit(store.location).hostname
        raise ScriptError(f"the store {store.name} is not there: no container of {host}")
    wanted = [*job_ids]
    found: dict[str, tuple[int, object]] = {}
    engine = connect(store.environ)
    try:
        for part in _parts(query, wanted):
            found |= _ask(engine, store, part)
    finally:
        engine.close()
    return found


def _parts(query: str, job_ids: list[str]) -> Iterator[dict[str, str]]:
    """Job id to its statements, in parts that fit into one call."""
    part: dict[str, str] = {}
    size = 0
    for job_id in job_ids:
        text = _statements(query, job_id)
        if part and size + len(text) > _SCRIPT_BYTES:
            yield part
            part, size = {}, 0
        part[job_id] = text
        size += len(text.encode())
    if part:
        yield part


def _statements(query: str, job_id: str) -> str:
    if "\0" in job_id:
        raise ScriptError(f"expected a job id without NUL, got {job_id!r}")
    try:
        escaped = "".join(f"\\x{byte:02x}" for byte in job_id.encode())
    except UnicodeEncodeError:
        raise ScriptError(f"expected a job id that is Unicode text, got {job_id!r}") from None
    bound = _PARAMETER.sub(":'job_id'", query).rstrip().rstrip(";")
    first = f"(array_agg({_COLUMN}::text))[1]"
    kind = f"(array_agg(pg_typeof({_COLUMN})::text))[1]"
    return (
        f"\\set job_id '{escaped}'\n"
        f"SELECT json_build_array(count(*), {kind}, {first})\n"
        f"FROM (\n{bound}\n) AS found({_COLUMN});\n"
    )


def _ask(engine: Engine, store: Store, part: dict[str, str]) -> dict[str, tuple[int, object]]:
    code, output, said = _run(engine, store, "".join(part.values()))
    if code == _NOT_FOUND:
        raise ScriptError(f"can't read the store {store.name}: no psql in its container: {said}")
    if code:
        raise ScriptError(f"can't read the store {store.name} at {store.location}: {said}")
    rows = [json.loads(line) for line in output.split("\n") if line]
    if len(rows) != len(part):
        raise ScriptError(
            f"the store {store.name}: expected {len(part)} answers, got {len(rows)}: "
            "the query has to be one SELECT"
        )
    return {
        job_id: (int(count), _value(kind, text))
        for job_id, (count, kind, text) in zip(part, rows, strict=True)
    }


def _value(kind: str | None, text: str | None) -> object:
    if kind == "bytea" and text is not None:
        return bytes.fromhex(text.removeprefix("\\x"))
    return text


def _run(engine: Engine, store: Store, script: str) -> tuple[int, str, str]:
    """Exit code, output and the last line of the errors of psql in the container."""
    parts = urlsplit(store.location)
    user, database = unquote(parts.username or "postgres"), unquote(parts.path.lstrip("/"))
    where = ["-U", user, "-d", database or user]
    environment = {"SCRIPT": script, "PGOPTIONS": _OPTIONS, "PGCLIENTENCODING": "UTF8"}
    command = ["sh", "-c", 'printf %s "$SCRIPT" | "$@" -f -', "sh", *_PSQL, *where]

    def call() -> tuple[int, Any]:
        made = engine.api.exec_create(store.container, command, environment=environment)
        answer = engine.api.exec_start(made["Id"], demux=True)
        return engine.api.exec_inspect(made["Id"])["ExitCode"], answer

    code, (output, errors) = ask(call)
    lines = (errors or b"").decode("utf-8", "replace").strip().splitlines()
    said = next((line for line in reversed(lines) if "ERROR" in line or "FATAL" in line), "")
    return code, (output or b"").decode("utf-8"), said or "".join(lines[-1:])
