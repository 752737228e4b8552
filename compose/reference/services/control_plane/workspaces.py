"""Workspaces: what jobs, simulations and audit bundles belong to (C9)."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from sqlalchemy import Connection, text

from services.control_plane.schemas import NewWorkspace, Workspace
from services.control_plane.store import find_workspace
from services.kit.access import require_client
from services.kit.clock import utc_now
from services.kit.errors import errors
from services.kit.models import Identifier
from services.kit.stores import AppDatabase

router = APIRouter(prefix="/api/v1/workspaces", tags=["workspaces"])

_ADD = text("""
    INSERT INTO workspaces (workspace_id, name, created_at) VALUES (:id, :name, :created_at)
""")
_DELETE = text("UPDATE workspaces SET deleted_at = :now WHERE workspace_id = :id")


@router.post(
    "",
    status_code=201,
    responses={200: {"model": Workspace, "description": "a dry run"}, **errors(401, 503)},
)
def create_workspace(
    new: NewWorkspace,
    response: Response,
    database: AppDatabase,
    _caller: Annotated[str, Depends(require_client)],
) -> Workspace:
    """Create a workspace; a dry run answers what would be created and creates nothing."""
    if new.dry_run:
        response.status_code = 200
        return Workspace(id=None, name=new.name, dry_run=True, created_at=None)
    workspace_id, created_at = f"workspace-{secrets.token_hex(8)}", utc_now()
    row = {"id": workspace_id, "name": new.name, "created_at": created_at}
    database.write(lambda connection: connection.execute(_ADD, row))
    return Workspace(id=workspace_id, name=new.name, dry_run=False, created_at=created_at)


@router.get("/{workspace_id}", responses=errors(401, 404, 503))
def read_workspace(
    workspace_id: Identifier,
    database: AppDatabase,
    _caller: Annotated[str, Depends(require_client)],
) -> Workspace:
    """One workspace."""
    with database.reading() as connection:
        row = find_workspace(connection, workspace_id)
    return Workspace(id=workspace_id, name=row["name"], dry_run=False, created_at=row["created_at"])


@router.delete("/{workspace_id}", status_code=204, responses=errors(401, 404, 503))
def delete_workspace(
    workspace_id: Identifier,
    database: AppDatabase,
    _caller: Annotated[str, Depends(require_client)],
) -> None:
    """Close a workspace; what was done in it stays for its audit bundles."""

    def close(connection: Connection) -> None:
        find_workspace(connection, workspace_id)
        connection.execute(_DELETE, {"id": workspace_id, "now": utc_now()})

    database.write(close)
