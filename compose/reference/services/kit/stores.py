"""The database of the running app, as a dependency of its operations."""

from typing import Annotated

from fastapi import Depends, FastAPI, Request, Response
from prometheus_client import Gauge
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.kit.database import Database
from services.kit.engines import is_unavailable
from services.kit.errors import error_response
from services.kit.logs import warn


def install(app: FastAPI, database: Database) -> None:
    """Give `app` its database, and answer 503 while that can't serve."""
    app.state.database = database
    in_use = Gauge(
        "database_connections_in_use",
        "Connections of the pool that are at work.",
        registry=app.state.metrics.registry,
    )
    in_use.set_function(database.connections_in_use)
    app.add_exception_handler(DBAPIError, _database_error)
    app.add_exception_handler(PoolTimeoutError, _database_error)


async def _database_error(request: Request, problem: Exception) -> Response:
    if isinstance(problem, DBAPIError) and not is_unavailable(problem):
        raise problem
    reason = str(getattr(problem, "orig", problem))
    warn(
        "database unavailable",
        route=getattr(request.scope.get("route"), "path", "unmatched"),
        reason=reason,
    )
    return error_response(503, "the database is away, busy or full: try again later")


# async: FastAPI would send a plain function through the thread pool at every request.
async def _database(request: Request) -> Database:
    found: Database = request.app.state.database
    return found


AppDatabase = Annotated[Database, Depends(_database)]
