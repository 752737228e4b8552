"""`POST /v1/packs`: a tar of a repository in, its pack index out (H5)."""

import asyncio
import errno
import tempfile
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import StringConstraints
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from services.executor.pack.archive import Archive, ArchiveError
from services.executor.pack.deadline import Deadline, TooSlowError
from services.executor.pack.index import Packer, TooManyChunksError, Wanted
from services.executor.pack.tokens import NAMES, tokenizer
from services.kit.access import require_client
from services.kit.errors import ServiceError, errors
from services.kit.logs import log, warn
from services.kit.models import Identifier

PATH = "/v1/packs"
# A repository's text, not its history: eight times what any other request may hold.
BODY_LIMIT_BYTES = 64 * 1024 * 1024
UPLOAD_SECONDS, PACK_SECONDS = 60.0, 60.0
_TAR = "application/x-tar"
_BODY = {
    "requestBody": {
        "required": True,
        "content": {_TAR: {"schema": {"type": "string", "format": "binary"}}},
    }
}
_NO_ROOM = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})

router = APIRouter()
Budget = Annotated[int, Query(ge=1, le=10_000_000, description="tokens that the pack may hold")]
TokenizerName = Annotated[str, Query(max_length=64, description=f"one of {', '.join(NAMES)}")]
Commit = Annotated[
    str,
    StringConstraints(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})?$"),
    Query(description="what the files are a checkout of; empty if of nothing"),
]


async def pack_turn(request: Request) -> asyncio.Lock:
    """One pack at a time: what one may take of disk, memory and time is all that is taken."""
    state = request.app.state
    if not hasattr(state, "pack_turn"):
        state.pack_turn = asyncio.Lock()
    found: asyncio.Lock = state.pack_turn
    return found


@router.post(
    PATH,
    tags=["packs"],
    dependencies=[Depends(require_client)],
    responses={
        **errors(401, 503),
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
    },
    response_class=Response,
    openapi_extra=_BODY,
)
async def pack(
    request: Request,
    *,
    name: Annotated[Identifier, Query(description="what the repository is called")],
    turn: Annotated[asyncio.Lock, Depends(pack_turn)],
    budget: Budget = 50_000,
    tokenizer_name: Annotated[TokenizerName, Query(alias="tokenizer")] = NAMES[0],
    commit: Commit = "",
) -> Response:
    """Choose chunks of the files in a tar, within a budget of tokens; the answer is the index."""
    if tokenizer_name not in NAMES:
        raise ServiceError(422, f"tokenizer: expected one of {', '.join(NAMES)}")
    if turn.locked():
        raise ServiceError(503, "another pack is being made: try again later")
    wanted = Wanted(name, commit or None, budget)
    async with turn:
        try:
            with tempfile.TemporaryFile(dir=request.app.state.settings.state_folder) as stream:
                await _receive(request, stream)
                index = await run_in_threadpool(_pack, stream, tokenizer_name, wanted)
        except ArchiveError as problem:
            raise ServiceError(422, f"body: {problem}") from problem
        except TooManyChunksError as problem:
            raise ServiceError(422, f"budget: {problem}") from problem
        except TooSlowError as problem:
            raise ServiceError(503, f"{problem}: send a smaller repository") from problem
        except OSError as problem:
            if problem.errno not in _NO_ROOM:
                raise
            warn("no room for a pack", reason=str(problem.strerror))
            raise ServiceError(503, "the disk for uploads is full: try again later") from problem
    log("pack", repository=name, budget=budget, size_bytes=len(index))
    return Response(index, media_type="application/json")


async def _receive(request: Request, stream: BinaryIO) -> None:
    """Write the body to disk as it comes; its size is bounded by the middleware."""
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            async for part in request.stream():
                await run_in_threadpool(stream.write, part)
    except TimeoutError as problem:
        message = f"expected the whole body within {UPLOAD_SECONDS:g} s: send it faster"
        raise ServiceError(503, message) from problem
    except ClientDisconnect as problem:
        raise ServiceError(422, "body: expected all of it, got a part") from problem


def _pack(stream: BinaryIO, tokenizer_name: str, wanted: Wanted) -> bytes:
    deadline = Deadline(PACK_SECONDS)  # reading the archive is part of the pack
    archive = Archive(stream, deadline)
    return Packer(archive, tokenizer(tokenizer_name), wanted, deadline).index()
