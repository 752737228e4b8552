"""The jobs API: public for clients, internal for the executor."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from services.control_plane import store
from services.control_plane.outbox import Outbox
from services.control_plane.schemas import (
    Execution,
    IdempotencyKey,
    Job,
    Jobs,
    NewExecution,
    NewJob,
    Outcome,
    Status,
)
from services.kit.access import require_client, require_only
from services.kit.errors import errors
from services.kit.models import Identifier
from services.kit.stores import AppDatabase

router = APIRouter(tags=["jobs"])
_only_executor = require_only("executor")


async def _outbox(request: Request) -> Outbox:
    found: Outbox = request.app.state.outbox
    return found


@router.post(
    "/api/v1/jobs",
    status_code=201,
    responses={
        200: {"model": Job, "description": "the job that the same request made before"},
        **errors(401, 404, 409, 503),
    },
)
def submit_job(
    new: NewJob,
    response: Response,
    database: AppDatabase,
    outbox: Annotated[Outbox, Depends(_outbox)],
    _caller: Annotated[str, Depends(require_client)],
    idempotency_key: Annotated[IdempotencyKey | None, Header()] = None,
) -> Job:
    """Take a job on. Once answered it is never lost: it ends completed or failed."""
    job, created = database.write(
        lambda connection: store.add_job(connection, new, idempotency_key)
    )
    response.status_code = 201 if created else 200
    outbox.wake()
    return job


@router.get("/api/v1/jobs", responses=errors(401, 404, 503))
def list_jobs(
    database: AppDatabase,
    _caller: Annotated[str, Depends(require_client)],
    status: Annotated[Status | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[Identifier | None, Query()] = None,
) -> Jobs:
    """Jobs in the order of submission."""
    with database.reading() as connection:
        jobs = store.list_jobs(connection, status or "", after, limit)
    return Jobs(jobs=list(jobs), next=jobs[-1].id if len(jobs) == limit else None)


@router.get("/api/v1/jobs/{job_id}", responses=errors(401, 404, 503))
def read_job(
    job_id: Identifier, database: AppDatabase, _caller: Annotated[str, Depends(require_client)]
) -> Job:
    """One job, with its result or error once it has ended."""
    with database.reading() as connection:
        return store.read_job(connection, job_id)


@router.get("/internal/jobs/{job_id}", responses=errors(401, 403, 404, 503))
def look_at_job(
    job_id: Identifier, database: AppDatabase, _caller: Annotated[str, Depends(_only_executor)]
) -> Job:
    """One job, for the executor: how many executions were begun, and whether it has ended."""
    with database.reading() as connection:
        return store.read_job(connection, job_id)


@router.post("/internal/jobs/{job_id}/running", responses=errors(401, 403, 404, 409, 503))
def begin_execution(
    job_id: Identifier,
    new: NewExecution,
    database: AppDatabase,
    _caller: Annotated[str, Depends(_only_executor)],
) -> Execution:
    """Count an execution that the executor is about to begin, once however often it is sent.

    409 where the job has ended; 409 `stale_attempt` where other executions were counted.
    """
    return database.write(lambda connection: store.begin_execution(connection, job_id, new.attempt))


@router.post("/internal/jobs/{job_id}/outcome", responses=errors(401, 403, 404, 409, 503))
def end_job(
    job_id: Identifier,
    outcome: Outcome,
    database: AppDatabase,
    _caller: Annotated[str, Depends(_only_executor)],
) -> Job:
    """Make the outcome of a job final; the same one again is accepted, another is not."""
    return database.write(lambda connection: store.end_job(connection, job_id, outcome))
