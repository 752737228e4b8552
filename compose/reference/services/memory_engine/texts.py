"""Results and documents: texts that are kept once acknowledged."""

import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from sqlalchemy import Connection, text

from services.kit.access import require_caller, require_only
from services.kit.clock import utc_now
from services.kit.errors import ServiceError, errors
from services.kit.models import Identifier
from services.kit.stores import AppDatabase
from services.memory_engine.schemas import (
    Document,
    DocumentReceipt,
    NewText,
    Result,
    ResultReceipt,
    Version,
)

router = APIRouter(prefix="/v1", tags=["memory"])
_only_executor = require_only("executor")

_ADD_RESULT = text("""
    INSERT INTO results (job_id, content, sha256, size_bytes, metadata, created_at)
    VALUES (:id, :content, :sha256, :size_bytes, :metadata, :created_at)
    ON CONFLICT (job_id) DO NOTHING
""")
_READ_RESULT = text(
    "SELECT content, sha256, size_bytes, metadata, created_at FROM results WHERE job_id = :id"
)
_ADD_DOCUMENT = text("""
    INSERT INTO documents (document_id, version, content, sha256, metadata, created_at)
    VALUES (:id, :version, :content, :sha256, :metadata, :created_at)
""")
_NEWEST_DOCUMENT = text("""
    SELECT version, sha256, metadata, created_at FROM documents
    WHERE document_id = :id ORDER BY version DESC LIMIT 1
""")
_READ_DOCUMENT = text("""
    SELECT version, content, sha256, metadata, created_at FROM documents
    WHERE document_id = :id AND (:version = 0 OR version = :version)
    ORDER BY version DESC LIMIT 1
""")


@router.put("/results/{job_id}", responses=errors(401, 403, 503))
def put_result(
    job_id: Identifier,
    result: NewText,
    database: AppDatabase,
    _caller: Annotated[str, Depends(_only_executor)],
) -> ResultReceipt:
    """Keep the result of a job. The first writer wins; the answer is what is stored."""
    row = _row(job_id, result)

    def add(connection: Connection) -> tuple[bool, dict[str, Any]]:
        created = connection.execute(_ADD_RESULT, row).rowcount == 1
        return created, _first(connection, _READ_RESULT, id=job_id)

    created, stored = database.write(add)
    return ResultReceipt(
        job_id=job_id,
        sha256=stored["sha256"],
        size_bytes=stored["size_bytes"],
        metadata=json.loads(stored["metadata"]),
        created_at=stored["created_at"],
        created=created,
    )


@router.get("/results/{job_id}", responses=errors(401, 404, 503))
def get_result(
    job_id: Identifier, database: AppDatabase, _caller: Annotated[str, Depends(require_caller)]
) -> Result:
    """The stored result of a job."""
    with database.reading() as connection:
        stored = _first(connection, _READ_RESULT, id=job_id)
    return Result(job_id=job_id, **_checked(stored))


@router.put("/documents/{document_id}", responses=errors(401, 503))
def put_document(
    document_id: Identifier,
    document: NewText,
    database: AppDatabase,
    _caller: Annotated[str, Depends(require_caller)],
) -> DocumentReceipt:
    """Add a version; what the newest version says already is not added again."""
    row = _row(document_id, document)

    def add(connection: Connection) -> tuple[bool, dict[str, Any]]:
        newest = connection.execute(_NEWEST_DOCUMENT, {"id": document_id}).mappings().first()
        if newest and all(newest[key] == row[key] for key in ("sha256", "metadata")):
            return False, dict(newest)
        added = {**row, "version": newest["version"] + 1 if newest else 1}
        connection.execute(_ADD_DOCUMENT, added)
        return True, added

    created, stored = database.write(add)
    return DocumentReceipt(
        document_id=document_id,
        version=stored["version"],
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
        metadata=document.metadata,
        created_at=stored["created_at"],
        created=created,
    )


@router.get("/documents/{document_id}", responses=errors(401, 404, 503))
def get_document(
    document_id: Identifier,
    database: AppDatabase,
    _caller: Annotated[str, Depends(require_caller)],
    version: Annotated[Version | None, Query()] = None,
) -> Document:
    """One version of a document; the newest by default."""
    with database.reading() as connection:
        stored = _first(connection, _READ_DOCUMENT, id=document_id, version=version or 0)
    return Document(document_id=document_id, version=stored["version"], **_checked(stored))


def _row(identifier: str, new: NewText) -> dict[str, Any]:
    content = new.content.encode()
    return {
        "id": identifier,
        "content": new.content,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "metadata": json.dumps(new.metadata, sort_keys=True),
        "created_at": utc_now(),
    }


def _first(connection: Connection, statement: Any, **values: object) -> dict[str, Any]:  # noqa: ANN401 - text() clauses
    row = connection.execute(statement, values).mappings().first()
    if row is None:
        raise ServiceError(404, "nothing is stored under this id: store it first")
    return dict(row)


def _checked(stored: dict[str, Any]) -> dict[str, Any]:
    """The stored text, unless the store was changed behind our back."""
    content = stored["content"].encode()
    if hashlib.sha256(content).hexdigest() != stored["sha256"]:
        raise ServiceError(500, "the stored content has another digest than when it was stored")
    return {
        "content": stored["content"],
        "sha256": stored["sha256"],
        "size_bytes": len(content),
        "metadata": json.loads(stored["metadata"]),
        "created_at": stored["created_at"],
    }
