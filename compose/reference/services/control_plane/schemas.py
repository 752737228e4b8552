"""What the control-plane takes and answers about jobs."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from services.kit.models import (
    AnswerModel,
    Identifier,
    NaturalNumber,
    RequestModel,
    Sha256Hex,
    ShortText,
)
from services.queue import Priority

MOST_ATTEMPTS = 5

Status = Literal["queued", "running", "completed", "failed"]
Strategy = Literal["vanilla", "stealth", "assault"]
TargetUrl = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[!-\[\]-~]+$")]
ErrorText = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\u0000]*$")]
IdempotencyKey = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]


class NewJob(RequestModel):
    kind: Literal["fetch"]
    strategy: Strategy
    priority: Priority
    target: TargetUrl
    sequence: NaturalNumber
    workspace_id: Identifier | None = None


class JobResult(RequestModel):
    sha256: Sha256Hex = Field(description="Of the UTF-8 bytes stored in the memory-engine.")
    size_bytes: NaturalNumber
    http_status: Annotated[int, Field(ge=100, le=599)]


class Job(AnswerModel):
    id: Identifier
    kind: Literal["fetch"]
    strategy: Strategy
    priority: Priority
    target: str
    sequence: NaturalNumber
    workspace_id: Identifier | None
    status: Status
    attempts: Annotated[int, Field(ge=0, le=MOST_ATTEMPTS)] = Field(
        description="How many executions of the job were begun."
    )
    result: JobResult | None
    error: str | None
    created_at: str
    completed_at: str | None


class Jobs(AnswerModel):
    jobs: list[Job] = Field(description="In the order of submission.")
    next: Identifier | None = Field(description="Pass it as `after` to read on.")


class NewExecution(RequestModel):
    attempt: Annotated[int, Field(ge=1, le=MOST_ATTEMPTS + 1)] = Field(
        description="One more than the job's attempts; sent again, it counts once."
    )


class Execution(AnswerModel):
    job_id: Identifier
    attempt: NaturalNumber
    may_run: bool = Field(description="False where all attempts are used up: report failed.")


class Outcome(RequestModel):
    status: Literal["completed", "failed"]
    result: JobResult | None = None
    error: ErrorText | None = None

    @model_validator(mode="after")
    def _result_or_error(self) -> Self:
        completed = self.status == "completed"
        if completed != (self.result is not None) or completed != (self.error is None):
            raise ValueError("expected a result with completed, an error with failed")
        return self


class NewWorkspace(RequestModel):
    name: Annotated[ShortText, Field(min_length=1)]
    dry_run: bool = False


class Workspace(AnswerModel):
    id: Identifier | None = Field(description="None in a dry run: nothing was created.")
    name: str
    dry_run: bool
    created_at: str | None
