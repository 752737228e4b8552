"""Jobs in the database: what may change, and what is final."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from services.control_plane.schemas import (
    MOST_ATTEMPTS,
    Execution,
    Job,
    JobResult,
    NewJob,
    Outcome,
)
from services.kit.clock import utc_now
from services.kit.errors import ServiceError

_ADD = text("""
    INSERT INTO jobs (job_id, idempotency_key, body_sha256, workspace_id, kind, strategy,
        priority, target, sequence, status, attempts, created_at, published)
    VALUES (:job_id, :idempotency_key, :body_sha256, :workspace_id, :kind, :strategy,
        :priority, :target, :sequence, 'queued', 0, :created_at, false)
""")
_READ = text("SELECT * FROM jobs WHERE job_id = :job_id")
_BY_KEY = text("SELECT * FROM jobs WHERE idempotency_key = :key")
_LIST = text("""
    SELECT * FROM jobs WHERE number > :after AND (:status = '' OR status = :status)
    ORDER BY number LIMIT :limit
""")
_BEGIN = text(f"""
    UPDATE jobs SET status = 'running', attempts = :attempt
    WHERE job_id = :job_id AND status IN ('queued', 'running')
        AND attempts = :attempt - 1 AND :attempt <= {MOST_ATTEMPTS}
""")  # noqa: S608 - a constant
_END = text("""
    UPDATE jobs SET status = :status, result = :result, error = :error,
        completed_at = :completed_at
    WHERE job_id = :job_id
""")
_WORKSPACE = text("SELECT * FROM workspaces WHERE workspace_id = :id AND deleted_at IS NULL")
STALE_ATTEMPT = "stale_attempt"
_FINAL = frozenset({"completed", "failed"})


def add_job(connection: Connection, new: NewJob, key: str | None) -> tuple[Job, bool]:
    """Add a job, or find the one that the same request added before.

    Raises:
        ServiceError: 409, the key came with another body; 404, no such workspace.
    """
    body_sha256 = hashlib.sha256(canonical(new.model_dump()).encode()).hexdigest()
    if key is not None:
        known = connection.execute(_BY_KEY, {"key": key}).mappings().first()
        if known is not None:
            if known["body_sha256"] != body_sha256:
                raise ServiceError(
                    409, "this Idempotency-Key came with another body: use a new one"
                )
            return to_job(known), False
    if new.workspace_id is not None:
        find_workspace(connection, new.workspace_id)
    job_id = f"job-{secrets.token_hex(12)}"
    row = {
        **new.model_dump(),
        "job_id": job_id,
        "idempotency_key": key,
        "body_sha256": body_sha256,
        "created_at": utc_now(),
    }
    connection.execute(_ADD, row)
    return to_job(_find(connection, job_id)), True


def read_job(connection: Connection, job_id: str) -> Job:
    """One job.

    Raises:
        ServiceError: 404.
    """
    return to_job(_find(connection, job_id))


def list_jobs(connection: Connection, status: str, after: str | None, limit: int) -> Sequence[Job]:
    """Jobs in the order of submission, from behind the job `after`.

    Raises:
        ServiceError: 404, there is no job `after`.
    """
    number = _find(connection, after)["number"] if after else 0
    rows = connection.execute(_LIST, {"after": number, "status": status, "limit": limit})
    return [to_job(row) for row in rows.mappings()]


def begin_execution(connection: Connection, job_id: str, attempt: int) -> Execution:
    """Count execution number `attempt`, unless all are used up.

    The number makes it one execution, however many copies of the request arrive, and
    however late: an executor that got no answer asks again with the same number.

    Raises:
        ServiceError: 404; 409, the job has ended, or `attempt` is not its next one.
    """
    values = {"job_id": job_id, "attempt": attempt}
    begun = connection.execute(_BEGIN, values).rowcount == 1
    row = _find(connection, job_id)
    if row["status"] in _FINAL:
        raise ServiceError(409, f"the job has ended: it is {row['status']}")
    counted = row["attempts"]
    if attempt not in {counted, counted + 1}:
        raise ServiceError(
            409, f"expected attempt {counted + 1}, got {attempt}: read the job again", STALE_ATTEMPT
        )
    return Execution(job_id=job_id, attempt=counted, may_run=begun or attempt == counted)


def end_job(connection: Connection, job_id: str, outcome: Outcome) -> Job:
    """Make an outcome final; the same outcome again changes nothing.

    Raises:
        ServiceError: 404; 409, the job has ended with another outcome.
    """
    row = _find(connection, job_id)
    result = canonical(outcome.result.model_dump()) if outcome.result else None
    if row["status"] not in _FINAL:
        values = {"status": outcome.status, "result": result, "error": outcome.error}
        connection.execute(_END, {**values, "job_id": job_id, "completed_at": utc_now()})
        return to_job(_find(connection, job_id))
    if (row["status"], row["result"], row["error"]) != (outcome.status, result, outcome.error):
        raise ServiceError(409, f"the job has ended otherwise: it is {row['status']}")
    return to_job(row)


def find_workspace(connection: Connection, workspace_id: str) -> RowMapping:
    """One workspace that is not deleted.

    Raises:
        ServiceError: 404.
    """
    row = connection.execute(_WORKSPACE, {"id": workspace_id}).mappings().first()
    if row is None:
        raise ServiceError(404, "there is no such workspace: create it first")
    return row


def to_job(row: RowMapping) -> Job:
    """A row as it is answered."""
    same = ("kind", "strategy", "priority", "target", "sequence", "workspace_id", "status")
    more = ("attempts", "error", "created_at", "completed_at")
    result = JobResult.model_validate_json(row["result"]) if row["result"] else None
    return Job(id=row["job_id"], result=result, **{name: row[name] for name in same + more})


def canonical(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """One text for one value: RFC 8785, as long as numbers are integers and keys ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _find(connection: Connection, job_id: str) -> RowMapping:
    row = connection.execute(_READ, {"job_id": job_id}).mappings().first()
    if row is None:
        raise ServiceError(404, "there is no such job: submit it first")
    return row
