"""`POST /internal/actions`: the one door to the tools; the policy stands in it (G3b)."""

import errno
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from services.executor.tools import browser, files, shell
from services.executor.tools.files import ArgumentsError
from services.executor.tools.policy import DeniedError, Policy, PolicyFile
from services.executor.tools.sandbox import NotThereError, Sandbox
from services.executor.tools.schemas import (
    ActionAnswer,
    ActionRequest,
    BrowserArguments,
    FileArguments,
    ShellArguments,
)
from services.kit.access import require_only
from services.kit.errors import ServiceError, errors
from services.kit.logs import log, warn
from services.kit.settings import Settings

POLICY_DENIED = "policy_denied"
# As passing as a neighbour that is down. Not every system has a number for quotas.
_NO_ROOM = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
router = APIRouter()
_only_gateway = require_only("gateway")

_Arguments = TypeVar("_Arguments", bound=BaseModel)
_policy_file = PolicyFile()


async def tool_policy() -> PolicyFile:
    """The policy file in force; a dependency, so that a test can put another in its place."""
    return _policy_file


async def tool_sandbox(request: Request) -> Sandbox:
    """The sandbox of the running app: one object, because its write lock has to be shared."""
    state = request.app.state
    if not hasattr(state, "tool_sandbox"):
        settings: Settings = state.settings
        state.tool_sandbox = Sandbox(settings.state_folder / "sandbox")
    found: Sandbox = state.tool_sandbox
    return found


@router.post("/internal/actions", tags=["tools"], responses=errors(401, 403, 404, 503))
async def act(
    action: ActionRequest,
    request: Request,
    policy_file: Annotated[PolicyFile, Depends(tool_policy)],
    sandbox: Annotated[Sandbox, Depends(tool_sandbox)],
    caller: Annotated[str, Depends(_only_gateway)],
) -> ActionAnswer:
    """Run one action, if the policy lists it; 403 `policy_denied` with the reason if not."""
    try:
        policy = await run_in_threadpool(policy_file.current)
        answer = await _run(action, policy, sandbox, request.app.state.settings)
    except DeniedError as problem:
        warn("action denied", tool=action.tool, caller=caller, reason=str(problem))
        raise ServiceError(403, str(problem), POLICY_DENIED) from problem
    except NotThereError as problem:
        raise ServiceError(404, str(problem)) from problem
    except ArgumentsError as problem:
        raise ServiceError(422, str(problem)) from problem
    except OSError as problem:
        if problem.errno not in _NO_ROOM:
            raise
        warn("no room for an action", tool=action.tool, reason=str(problem.strerror))
        raise ServiceError(503, "the sandbox's disk is full: try again later") from problem
    log("action", tool=action.tool, caller=caller, outcome=answer.outcome)
    return answer


async def _run(
    action: ActionRequest, policy: Policy, sandbox: Sandbox, settings: Settings
) -> ActionAnswer:
    if action.tool == "shell" and policy.shell:
        argv = _parse(ShellArguments, action.arguments).argv
        ran = await run_in_threadpool(shell.run, policy.shell, sandbox, argv)
        return ActionAnswer(
            outcome=ran.outcome,
            tool="shell",
            output=ran.output,
            truncated=ran.truncated,
            exit_code=ran.exit_code,
        )
    if action.tool == "file" and policy.file:
        wanted = _parse(FileArguments, action.arguments)
        said = await run_in_threadpool(
            files.run, policy.file, sandbox, wanted.operation, wanted.path, wanted.content
        )
        return ActionAnswer(outcome="completed", tool="file", output=said)
    if action.tool == "browser" and policy.browser:
        url = _parse(BrowserArguments, action.arguments).url
        page = await browser.run(policy.browser, settings.allowed_hosts, url, settings.connect_to)
        return ActionAnswer(
            outcome=page.outcome, tool="browser", output=page.output, http_status=page.http_status
        )
    raise DeniedError("the tool is not on the list")


def _parse(model: type[_Arguments], arguments: dict[str, Any]) -> _Arguments:
    try:
        return model.model_validate(arguments)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_input=False)[0]
        where = ".".join(["arguments", *map(str, first["loc"])])
        raise ArgumentsError(f"{where[:200]}: {first['msg'][:200]}") from problem
