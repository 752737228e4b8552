"""What the worker says to the memory-engine and the control-plane, and what it hears back."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from services.kit.client import PASSING_STATUSES, ServiceClient
from services.kit.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from services.executor.fetch import Fetched
    from services.kit.settings import Settings

# About 3.5 s in all, long enough for a restart; where a neighbour stays down longer,
# the message comes back when its lease ends.
ATTEMPTS = 8
TIMEOUT_SECONDS = 3.0
_DECIDED = frozenset({404, 409})
_ENDED = frozenset({"completed", "failed"})
_STALE = "stale_attempt"


class NeighbourError(Exception):
    """A neighbour is down, or does not take what we say now: the job has to wait."""


class NeighbourRefusedError(NeighbourError):
    """A neighbour is up, and refuses what we say, or says what we can't read."""


class UnknownJobError(Exception):
    """The control-plane knows no such job."""


@dataclass(frozen=True)
class StoredResult:
    """The one result of a job, as the memory-engine keeps it."""

    sha256: str
    size_bytes: int
    http_status: int


@dataclass(frozen=True)
class Start:
    """The control-plane's word on an execution: go, all used up, or the job has ended."""

    word: Literal["run", "used up", "ended"]
    attempt: int = 0


class Neighbours:
    """Calls that repeat without harm, so each is tried a few times."""

    def __init__(self, settings: Settings) -> None:
        """Call the neighbours that `settings` names."""
        self._memory = ServiceClient(settings, "memory-engine")
        self._control = ServiceClient(settings, "control-plane")
        # Executions that were announced, and may have been counted though no answer came.
        self._unanswered: dict[str, int] = {}

    async def stored_result(self, job_id: str) -> StoredResult | None:
        """The result that is already stored for a job, if any.

        Raises:
            NeighbourError: the memory-engine is down.
        """
        response = await _ask(self._memory, "GET", f"/v1/results/{job_id}")
        return None if response.status_code == 404 else _stored(_accepted(response))  # noqa: PLR2004 - HTTP

    async def store(self, job_id: str, fetched: Fetched) -> StoredResult:
        """Store a result; where there is one already, that one is kept and returned.

        Raises:
            NeighbourError: the memory-engine is down.
        """
        metadata = {
            "http_status": str(fetched.http_status),
            "final_url": fetched.final_url.encode("ascii", "replace").decode()[:200],
        }
        body = {"content": fetched.content, "metadata": metadata}
        return _stored(_accepted(await _ask(self._memory, "PUT", f"/v1/results/{job_id}", body)))

    async def begin(self, job_id: str) -> Start:
        """Ask whether to execute a job now; the control-plane counts it.

        An execution is announced by its number, and by the same number until an answer
        comes: a control-plane that hangs counts it once, however many copies it finds.

        Raises:
            NeighbourError: the control-plane is down.
            UnknownJobError: it does not know the job.
        """
        attempt = self._unanswered.get(job_id) or await self._next_attempt(job_id)
        if attempt is None:
            return Start("ended")
        self._unanswered[job_id] = attempt
        path = f"/internal/jobs/{job_id}/running"
        response = await _ask(self._control, "POST", path, {"attempt": attempt})
        if response.is_success or response.status_code in _DECIDED:
            del self._unanswered[job_id]
        with _understanding():
            if response.status_code == 409 and response.json()["error"]["code"] != _STALE:  # noqa: PLR2004 - HTTP
                return Start("ended")
            answer = _accepted(_known(response, job_id)).json()
            return Start("run" if answer["may_run"] else "used up", answer["attempt"])

    async def _next_attempt(self, job_id: str) -> int | None:
        response = await _ask(self._control, "GET", f"/internal/jobs/{job_id}")
        with _understanding():
            job = _accepted(_known(response, job_id)).json()
            return None if job["status"] in _ENDED else int(job["attempts"]) + 1

    async def report(self, job_id: str, outcome: dict[str, Any]) -> bool:
        """Report how a job ended; false where it had ended otherwise before.

        Raises:
            NeighbourError: the control-plane is down.
            UnknownJobError: it does not know the job.
        """
        path = f"/internal/jobs/{job_id}/outcome"
        response = await _ask(self._control, "POST", path, outcome)
        if response.status_code == 409:  # noqa: PLR2004 - HTTP
            return False
        _accepted(_known(response, job_id))
        return True


async def _ask(
    client: ServiceClient,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
) -> httpx.Response:
    try:
        return await client.request(
            method, path, json=body, timeout_seconds=TIMEOUT_SECONDS, attempts=ATTEMPTS
        )
    except ServiceError as problem:
        raise NeighbourError(problem.message) from problem


def _known(response: httpx.Response, job_id: str) -> httpx.Response:
    if response.status_code == 404:  # noqa: PLR2004 - HTTP
        raise UnknownJobError(job_id)
    return response


def _accepted(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    message = f"expected a 2xx answer, got {response.status_code}"
    if response.status_code in PASSING_STATUSES:
        raise NeighbourError(message)
    raise NeighbourRefusedError(message)


@contextmanager
def _understanding() -> Iterator[None]:
    """An answer that lacks what it should hold is a refusal as well."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as problem:
        raise NeighbourRefusedError("expected an answer of the agreed form") from problem


def _stored(response: httpx.Response) -> StoredResult:
    with _understanding():
        answer = response.json()
        status = int(answer["metadata"].get("http_status", "200"))
        return StoredResult(answer["sha256"], answer["size_bytes"], status)
