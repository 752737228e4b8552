"""What the policy is asked about an action: facts, never content, and nothing it can't read.

The question holds no more than a rule may need: a file's content stays out of it, and of a
URL only the scheme goes in, because the fetcher holds every hop against ALLOWED_HOSTS.
"""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from services.executor.tools.files import ArgumentsError
from services.executor.tools.schemas import BrowserArguments, FileArguments, ShellArguments

Arguments = ShellArguments | FileArguments | BrowserArguments
_MODELS: dict[str, type[Arguments]] = {
    "shell": ShellArguments,
    "file": FileArguments,
    "browser": BrowserArguments,
}
_Model = TypeVar("_Model", bound=BaseModel)


def parse(tool: str, arguments: dict[str, Any]) -> Arguments | None:
    """The arguments of a tool that there is; None of one that there isn't.

    Raises:
        ArgumentsError: they are not of the tool's form.
    """
    model = _MODELS.get(tool)
    return None if model is None else _parsed(model, arguments)


def question(caller: str, tool: str, arguments: Arguments | None) -> dict[str, Any]:
    """The input of the policy."""
    asked: dict[str, Any] = {"caller": caller, "tool": tool}
    if isinstance(arguments, ShellArguments):
        asked["argv"] = arguments.argv
    elif isinstance(arguments, FileArguments):
        asked["operation"] = arguments.operation
    elif isinstance(arguments, BrowserArguments):
        asked["scheme"] = _scheme(arguments.url)
    return asked


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def _parsed(model: type[_Model], arguments: dict[str, Any]) -> _Model:
    try:
        return model.model_validate(arguments)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        where = ".".join(["arguments", *map(str, first["loc"])])
        raise ArgumentsError(f"{where[:200]}: {first['msg'][:200]}") from problem
