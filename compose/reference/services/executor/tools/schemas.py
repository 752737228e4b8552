"""What the executor's tools take and answer."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from services.kit.models import AnswerModel, FreeJson, RequestModel

_TEXT = r"^[^\u0000]*$"
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Argument = Annotated[str, StringConstraints(max_length=4_096)]
PathText = Annotated[str, StringConstraints(min_length=1, max_length=4_096)]
Content = Annotated[str, StringConstraints(max_length=1_048_576, pattern=_TEXT)]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2_048)]


class ActionRequest(RequestModel):
    """One action: which tool, and its arguments (ShellArguments, FileArguments, ...)."""

    tool: ToolName
    arguments: FreeJson


class ShellArguments(RequestModel):
    """A program and its arguments; a list, never a command line."""

    argv: Annotated[list[Argument], Field(min_length=1, max_length=64)]


class FileArguments(RequestModel):
    """One operation on one path relative to the sandbox folder."""

    operation: Literal["read", "write", "list"]
    path: PathText
    content: Content | None = None


class BrowserArguments(RequestModel):
    """The page to fetch; its host has to be on the executor's list."""

    url: Url


class ActionAnswer(AnswerModel):
    """What came of an allowed action.

    `failed` and `timed_out` are the tool's own outcome: the action was allowed and ran.
    """

    outcome: Literal["completed", "failed", "timed_out"]
    tool: str
    output: str
    truncated: bool = False
    exit_code: int | None = None
    http_status: int | None = None
