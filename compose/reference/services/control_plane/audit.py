"""Audit bundles: what was done in a workspace, signed with the control-plane's key (C3)."""

import hashlib
import json
import secrets
from typing import Annotated, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import APIRouter, Depends, Request
from sqlalchemy import Connection, RowMapping, text

from services.control_plane.store import canonical, to_job
from services.kit.access import require_client
from services.kit.clock import utc_now
from services.kit.errors import ServiceError, errors
from services.kit.models import AnswerModel, Identifier, RequestModel, Sha256Hex
from services.kit.stores import AppDatabase

MOST_JOBS = 10_000

router = APIRouter(prefix="/api/v1/audit-bundles", tags=["audit"])

_WORKSPACE = text("SELECT * FROM workspaces WHERE workspace_id = :id")
_JOBS = text("SELECT * FROM jobs WHERE workspace_id = :id ORDER BY number LIMIT :limit")
_SIMULATIONS = text("""
    SELECT simulation_id, report, created_at FROM simulations
    WHERE workspace_id = :id ORDER BY created_at, simulation_id
""")
_ADD = text("""
    INSERT INTO audit_bundles (bundle_id, workspace_id, content, sha256, signature, created_at)
    VALUES (:id, :workspace_id, :content, :sha256, :signature, :created_at)
""")
_READ = text("SELECT * FROM audit_bundles WHERE bundle_id = :id")


class NewBundle(RequestModel):
    workspace_id: Identifier


class Bundle(AnswerModel):
    id: Identifier
    workspace_id: Identifier
    content: str
    sha256: Sha256Hex
    signature: str
    created_at: str


class Verification(AnswerModel):
    verified: bool


async def _signing_key(request: Request) -> Ed25519PrivateKey:
    found: Ed25519PrivateKey = request.app.state.signing_key
    return found


SigningKey = Annotated[Ed25519PrivateKey, Depends(_signing_key)]


@router.post("", status_code=201, responses=errors(401, 404, 409, 503))
def create_bundle(
    new: NewBundle,
    database: AppDatabase,
    key: SigningKey,
    _caller: Annotated[str, Depends(require_client)],
) -> Bundle:
    """Collect what the workspace holds now, sign it and keep it; closed workspaces too."""
    bundle_id, created_at = f"bundle-{secrets.token_hex(8)}", utc_now()

    def collect(connection: Connection) -> Bundle:
        facts = _collect(connection, new.workspace_id)
        content = canonical({**facts, "bundle_id": bundle_id, "created_at": created_at})
        bundle = Bundle(
            id=bundle_id,
            workspace_id=new.workspace_id,
            content=content,
            sha256=hashlib.sha256(content.encode()).hexdigest(),
            signature=key.sign(content.encode()).hex(),
            created_at=created_at,
        )
        connection.execute(_ADD, bundle.model_dump())
        return bundle

    return database.write(collect)


@router.get("/{bundle_id}", responses=errors(401, 404, 503))
def read_bundle(
    bundle_id: Identifier,
    database: AppDatabase,
    _caller: Annotated[str, Depends(require_client)],
) -> Bundle:
    """One bundle: canonical JSON and the hex Ed25519 signature over its UTF-8 bytes."""
    with database.reading() as connection:
        row = _find(connection, bundle_id)
    same = ("workspace_id", "content", "sha256", "signature", "created_at")
    return Bundle(id=row["bundle_id"], **{name: row[name] for name in same})


@router.get("/{bundle_id}/verify", responses=errors(401, 404, 503))
def verify_bundle(
    bundle_id: Identifier,
    database: AppDatabase,
    key: SigningKey,
    _caller: Annotated[str, Depends(require_client)],
) -> Verification:
    """Whether the stored bundle is the one that was signed, under its own id."""
    with database.reading() as connection:
        row = _find(connection, bundle_id)
    return Verification(verified=_verified(row, key))


def _collect(connection: Connection, workspace_id: str) -> dict[str, Any]:
    workspace = connection.execute(_WORKSPACE, {"id": workspace_id}).mappings().first()
    if workspace is None:
        raise ServiceError(404, "there is no such workspace: create it first")
    jobs = connection.execute(_JOBS, {"id": workspace_id, "limit": MOST_JOBS + 1}).mappings().all()
    if len(jobs) > MOST_JOBS:
        raise ServiceError(409, f"expected at most {MOST_JOBS} jobs in a workspace, got more")
    simulations = connection.execute(_SIMULATIONS, {"id": workspace_id}).mappings()
    return {
        "schema": "audit-bundle/1",
        "workspace": dict(workspace),
        "jobs": [to_job(row).model_dump() for row in jobs],
        "simulations": [{**row, "report": json.loads(row["report"])} for row in simulations],
    }


def _verified(row: RowMapping, key: Ed25519PrivateKey) -> bool:
    content = row["content"].encode()
    try:
        key.public_key().verify(bytes.fromhex(row["signature"]), content)
        signed = json.loads(content)
        same_id = signed["bundle_id"] == row["bundle_id"]
        same_workspace = signed["workspace"]["workspace_id"] == row["workspace_id"]
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return False
    same_content = hashlib.sha256(content).hexdigest() == row["sha256"]
    return bool(same_id and same_workspace and same_content)


def _find(connection: Connection, bundle_id: str) -> RowMapping:
    row = connection.execute(_READ, {"id": bundle_id}).mappings().first()
    if row is None:
        raise ServiceError(404, "there is no such bundle: create it first")
    return row
