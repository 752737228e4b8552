"""The workload client: submit a job, look at it, find its result again."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
import urllib3

from stack.placeholders import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stack.model import Golden, Stack
    from stack.plan import Job

REQUEST_SECONDS = 10.0
READ_BYTES, ANSWER_BYTES = 1 << 16, 1 << 26
SUBMIT_ATTEMPTS = 3
_RETRY_SECONDS = 0.2
_ABSENT = object()


@dataclass(frozen=True)
class Submission:
    """What a submission call gave: a job id, or an error."""

    job_id: str | None
    seconds: float
    error: str | None = None


@dataclass(frozen=True)
class Look:
    """What a poll saw: `state` is completed, failed, pending or unknown."""

    state: str
    status: str | None = None
    digest: str | None = None
    error: str | None = None


class WorkloadClient:
    """Speaks the workload section of a stack file; safe for use from many threads.

    Args:
        stack: the stack under proof.
        secrets: values of the stack's secrets, for headers.
        run_id: makes idempotency keys of one run unlike those of any other.
        clean: takes secrets out of a text, before it is cut to fit an error line.
    """

    def __init__(
        self,
        stack: Stack,
        secrets: Mapping[str, str],
        run_id: str,
        clean: Callable[[str], str] = str,
    ) -> None:
        """See the class."""
        self._clean = clean
        self._stack, self._workload, self._run_id = stack, stack.workload, run_id
        self._secrets = {f"secret:{name}": value for name, value in secrets.items()}
        self._headers = self.headers(stack.workload.headers)
        self._base = stack.service(stack.workload.service).url
        self._local = threading.local()

    def headers(self, templates: Mapping[str, str]) -> dict[str, str]:
        """Header templates with the secrets filled in."""
        return {name: fill(text, self._secrets) for name, text in templates.items()}

    def submit(self, job: Job) -> Submission:
        """Submit one job; a lost connection is tried again where the API is idempotent."""
        workload = self._workload
        headers = {**self._headers, "Content-Type": "application/json"}
        attempts = 1
        if workload.idempotency_header:
            headers[workload.idempotency_header] = f"{self._run_id}-{job.index}"
            attempts = SUBMIT_ATTEMPTS
        begun = time.monotonic()
        submission = Submission(None, 0.0, "not submitted")
        for attempt in range(attempts):
            if attempt:
                time.sleep(_RETRY_SECONDS * attempt)
            answer = self._call(workload.submit_method, workload.submit_path, headers, job.body)
            seconds = time.monotonic() - begun
            submission = self._read_submission(answer, seconds)
            if not isinstance(answer, str):
                break
        return submission

    def _read_submission(self, answer: requests.Response | str, seconds: float) -> Submission:
        if isinstance(answer, str):
            return Submission(None, seconds, answer)
        job_id = pointer(_json(answer), self._workload.job_id)
        if answer.ok and isinstance(job_id, (str, int)) and str(job_id):
            return Submission(str(job_id), seconds)
        got = f"status {answer.status_code}: {self._clean(answer.text)[:200]}"
        return Submission(None, seconds, f"expected a job id at {self._workload.job_id}, got {got}")

    def look(self, job_id: str) -> Look:
        """Poll one job; anything that is no clear answer is `unknown`."""
        workload = self._workload
        answer = self._call("GET", fill(workload.poll_path, {"job_id": job_id}), self._headers)
        if isinstance(answer, str):
            return Look("unknown", error=answer)
        if not answer.ok:
            return Look("unknown", error=f"status {answer.status_code}")
        value = _json(answer)
        status = pointer(value, workload.poll_status)
        if pointer(value, workload.poll_status, _ABSENT) is _ABSENT:
            # Nothing will ever stand there: better said at once than after the time limit.
            return Look("failed", error=f"the answer has nothing at {workload.poll_status}")
        state = "pending"
        if status in workload.completed:
            state = "completed"
        elif status in workload.failed:
            state = "failed"
        return Look(
            state,
            str(status),
            _text(pointer(value, workload.poll_digest)),
            _text(pointer(value, workload.poll_error)),
        )

    def memory_digest(self, job_id: str) -> str | None:
        """The digest that the memory service gives for a job's result."""
        workload = self._workload
        if not workload.memory_service or not workload.memory_path:
            return None
        base = self._stack.service(workload.memory_service).url
        path = fill(workload.memory_path, {"job_id": job_id})
        answer = self._call("GET", path, self._headers, base=base)
        if isinstance(answer, str) or not answer.ok:
            return None
        return _text(pointer(_json(answer), workload.memory_digest))

    def ask(self, golden: Golden) -> str | None:
        """Send a golden request; returns None, or what was expected and what came."""
        answer = self._call(
            golden.method,
            golden.path,
            self.headers(golden.headers),
            json=golden.body,
            base=self._stack.service(golden.service).url,
        )
        if isinstance(answer, str):
            return answer
        if answer.status_code != golden.expect_status:
            return f"expected status {golden.expect_status}, got {answer.status_code}"
        value = _json(answer)
        for where, wanted in golden.expect_json.items():
            if (got := pointer(value, where)) != wanted:
                return f"{where}: expected {wanted!r}, got {got!r}"
        for wanted in golden.expect_contains:
            if wanted not in answer.text:
                got = self._clean(answer.text)[:100]
                return f"expected {wanted!r} in the answer, got {got!r}"
        return None

    def _call(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        json: object = None,
        base: str | None = None,
    ) -> requests.Response | str:
        """One HTTP call; trouble on the wire comes back as a text."""
        try:
            answer = self._session().request(
                method,
                (base or self._base) + path,
                data=body,
                json=json,
                headers=dict(headers),
                timeout=REQUEST_SECONDS,
                allow_redirects=False,
                stream=True,
            )
            return _read_all(answer, time.monotonic() + REQUEST_SECONDS)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as problem:
            return f"no answer from {base or self._base}: {_cause(problem)}"

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False  # no proxy or .netrc between the proof and the system
        return session


def pointer(value: Any, where: str | None, absent: Any = None) -> Any:  # noqa: ANN401 - the JSON edge
    """The part of a JSON value at a JSON Pointer (RFC 6901); `absent` where there is none."""
    for raw in (where or "").split("/")[1:]:
        key = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return absent
    return value if where else absent


def _read_all(answer: requests.Response, deadline: float) -> requests.Response:
    """Read the body with one limit for all of it: a time-out alone starts anew at each byte."""
    parts, size = [], 0
    while part := answer.raw.read1(READ_BYTES, decode_content=True):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline or size > ANSWER_BYTES:
            answer.close()
            raise requests.exceptions.Timeout(
                f"the answer did not end within {REQUEST_SECONDS:g} s and {ANSWER_BYTES} bytes"
            )
    # What requests itself keeps after reading; it would find the stream at its end.
    answer._content = b"".join(parts)  # noqa: SLF001
    return answer


def _json(answer: requests.Response) -> Any:  # noqa: ANN401 - the JSON edge
    try:
        return answer.json()
    except ValueError:
        return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _cause(problem: BaseException) -> str:
    while problem.__context__ is not None:
        problem = problem.__context__
    return str(problem)[:200] or type(problem).__name__
