"""The database of the running app, as a dependency of its operations."""

from typing import Annotated

from fastapi import Depends, Request

from services.kit.database import Database


# async: FastAPI would send a plain function through the thread pool at every request.
async def _database(request: Request) -> Database:
    found: Database = request.app.state.database
    return found


AppDatabase = Annotated[Database, Depends(_database)]
