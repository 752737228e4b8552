"""Vectors with cosine search: exact, by looking at every vector of the same length."""

import heapq
import json
import math
import operator
from array import array
from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import text

from services.kit.access import require_caller
from services.kit.clock import utc_now
from services.kit.database import Database
from services.kit.errors import ServiceError, errors
from services.kit.models import Identifier
from services.kit.stores import AppDatabase
from services.memory_engine.schemas import (
    NewVector,
    VectorMatch,
    VectorMatches,
    VectorQuery,
    VectorReceipt,
)

router = APIRouter(prefix="/v1/vectors", tags=["vectors"])

_PUT = text("""
    INSERT INTO vectors (vector_id, dimensions, unit_values, metadata, created_at)
    VALUES (:id, :dimensions, :unit_values, :metadata, :created_at)
    ON CONFLICT (vector_id) DO UPDATE SET dimensions = excluded.dimensions,
        unit_values = excluded.unit_values, metadata = excluded.metadata
""")
# A search looks at every vector, but holds only so many of them at once.
_ROWS_AT_ONCE = 500
_ALL = text("SELECT vector_id, unit_values, metadata FROM vectors WHERE dimensions = :dimensions")


@router.put("/{vector_id}", responses=errors(401, 503))
def put_vector(
    vector_id: Identifier,
    vector: NewVector,
    database: AppDatabase,
    _caller: Annotated[str, Depends(require_caller)],
) -> VectorReceipt:
    """Store a vector, or replace it. Only its direction is kept."""
    row = {
        "id": vector_id,
        "dimensions": len(vector.values),
        "unit_values": array("d", _unit(vector.values)).tobytes(),
        "metadata": json.dumps(vector.metadata, sort_keys=True),
        "created_at": utc_now(),
    }
    database.write(lambda connection: connection.execute(_PUT, row))
    return VectorReceipt(vector_id=vector_id, dimensions=len(vector.values))


@router.post("/search", responses=errors(401, 503))
def search_vectors(
    query: VectorQuery, database: AppDatabase, _caller: Annotated[str, Depends(require_caller)]
) -> VectorMatches:
    """The vectors with the most similar direction, among those of the same length."""
    wanted = _unit(query.values)
    # Best first, then by id: negated scores make that one ascending order.
    best = heapq.nsmallest(query.top_k, _scores(database, wanted))
    return VectorMatches(
        matches=[
            VectorMatch(vector_id=name, score=-negated, metadata=json.loads(metadata))
            for negated, name, metadata in best
        ]
    )


def _scores(database: Database, wanted: Sequence[float]) -> Iterator[tuple[float, str, str]]:
    with database.reading() as connection:
        # `yield_per` streams as well: PostgreSQL keeps the rest in a cursor.
        rows = connection.execute(
            _ALL, {"dimensions": len(wanted)}, execution_options={"yield_per": _ROWS_AT_ONCE}
        )
        for name, stored, metadata in rows:
            values = array("d")
            values.frombytes(stored)
            score = sum(map(operator.mul, wanted, values))
            yield -max(-1.0, min(1.0, score)), name, metadata


def _unit(values: Sequence[float]) -> list[float]:
    """The vector of length 1 in the same direction."""
    largest = max(map(abs, values))
    if largest == 0:
        raise ServiceError(422, "values: expected a direction, got all zeros")
    # Divided by the largest first: the length of very large or small values can't be told.
    scaled = [value / largest for value in values]
    length = math.hypot(*scaled)
    return [value / length for value in scaled]
