"""Simulations of a workspace's workflow, persisted with everything that reproduces them (C2)."""

import json
import secrets
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy import Connection, text

from services.control_plane.montecarlo import simulate
from services.control_plane.store import canonical, find_workspace
from services.kit.access import require_client
from services.kit.clock import utc_now
from services.kit.errors import ServiceError, errors
from services.kit.models import AnswerModel, Identifier, NaturalNumber, RequestModel
from services.kit.stores import AppDatabase

MOST_ITERATIONS = 10_000

router = APIRouter(prefix="/api/v1/simulations", tags=["simulations"])

_ADD = text("""
    INSERT INTO simulations (simulation_id, workspace_id, seed, iterations, report, created_at)
    VALUES (:id, :workspace_id, :seed, :iterations, :report, :created_at)
""")
_READ = text("SELECT * FROM simulations WHERE simulation_id = :id")


class NewSimulation(RequestModel):
    workspace_id: Identifier
    seed: NaturalNumber
    iterations: Annotated[int, Field(ge=1, le=MOST_ITERATIONS)] = 1000


class Report(AnswerModel):
    seed: NaturalNumber
    iterations: NaturalNumber
    generator: str
    library: str
    library_version: str
    runtime: str
    completed: NaturalNumber
    completed_per_million: NaturalNumber
    passed_policy: NaturalNumber
    passed_policy_per_million: NaturalNumber
    failures: dict[str, NaturalNumber] = Field(description="Runs that ended at a failed step.")
    denials: dict[str, NaturalNumber] = Field(description="Runs that ended at a denied step.")
    retries: NaturalNumber
    cost_cents: NaturalNumber


class Simulation(AnswerModel):
    id: Identifier
    workspace_id: Identifier
    report: Report
    created_at: str


@router.post("", status_code=201, responses=errors(401, 404, 503))
def create_simulation(
    new: NewSimulation, database: AppDatabase, _caller: Annotated[str, Depends(require_client)]
) -> Simulation:
    """Simulate: the same seed and iterations give the same report."""
    with database.reading() as connection:
        find_workspace(connection, new.workspace_id)
    report = simulate(new.seed, new.iterations)
    simulation = Simulation(
        id=f"simulation-{secrets.token_hex(8)}",
        workspace_id=new.workspace_id,
        report=Report.model_validate(report),
        created_at=utc_now(),
    )
    row = {**new.model_dump(), "id": simulation.id, "created_at": simulation.created_at}

    def keep(connection: Connection) -> None:
        find_workspace(connection, new.workspace_id)
        connection.execute(_ADD, {**row, "report": canonical(report)})

    database.write(keep)
    return simulation


@router.get("/{simulation_id}", responses=errors(401, 404, 503))
def read_simulation(
    simulation_id: Identifier,
    database: AppDatabase,
    _caller: Annotated[str, Depends(require_client)],
) -> Simulation:
    """One simulation."""
    with database.reading() as connection:
        row = connection.execute(_READ, {"id": simulation_id}).mappings().first()
    if row is None:
        raise ServiceError(404, "there is no such simulation: create it first")
    return Simulation(
        id=row["simulation_id"],
        workspace_id=row["workspace_id"],
        report=Report.model_validate(json.loads(row["report"])),
        created_at=row["created_at"],
    )
