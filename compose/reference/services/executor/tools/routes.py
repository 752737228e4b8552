"""`POST /internal/actions`: the one door to the tools; the policy stands in it (G3b)."""

import errno
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from services.executor.policy.data import Limits
from services.executor.policy.denied import DeniedError
from services.executor.policy.rego import Decision
from services.executor.tools import browser, files, questions, selfcheck, shell
from services.executor.tools.decisions import Decisions
from services.executor.tools.files import ArgumentsError
from services.executor.tools.profile import Profile
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


async def tool_decisions(request: Request) -> Decisions:
    """The policy of the running app."""
    found: Decisions = request.app.state.tool_decisions
    return found


async def tool_sandbox(request: Request) -> Sandbox:
    """The sandbox of the running app: one object, because its write lock has to be shared."""
    found: Sandbox = request.app.state.tool_sandbox
    return found


@router.post("/internal/actions", tags=["tools"], responses=errors(401, 403, 404, 503))
async def act(
    action: ActionRequest,
    request: Request,
    decisions: Annotated[Decisions, Depends(tool_decisions)],
    sandbox: Annotated[Sandbox, Depends(tool_sandbox)],
    caller: Annotated[str, Depends(_only_gateway)],
) -> ActionAnswer:
    """Run one action, if the policy lists it; 403 `policy_denied` with the reason if not."""
    try:
        answer = await _judge_and_run(action, caller, decisions, sandbox, request)
    except DeniedError as problem:
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


async def _judge_and_run(
    action: ActionRequest, caller: str, decisions: Decisions, sandbox: Sandbox, request: Request
) -> ActionAnswer:
    arguments = questions.parse(action.tool, action.arguments)
    asked = questions.question(caller, action.tool, arguments)
    loaded, decision = await run_in_threadpool(decisions.decide, asked)
    settings: Settings = request.app.state.settings
    try:
        return await _run(arguments, decision, loaded.data.limits, sandbox, settings)
    except DeniedError as problem:
        decisions.refused(asked, problem, loaded.sha256)
        raise


async def _run(
    arguments: questions.Arguments | None,
    decision: Decision,
    limits: Limits,
    sandbox: Sandbox,
    settings: Settings,
) -> ActionAnswer:
    match arguments:
        case ShellArguments(argv=argv):
            return await run_in_threadpool(_shell, limits, sandbox, argv, decision.use)
        case FileArguments(operation=operation, path=path, content=content):
            said = await run_in_threadpool(
                files.run, limits.file, sandbox, operation, path, content
            )
            return ActionAnswer(outcome="completed", tool="file", output=said)
        case BrowserArguments(url=url):
            page = await browser.run(
                limits.browser, settings.allowed_hosts, url, settings.connect_to
            )
            return ActionAnswer(
                outcome=page.outcome,
                tool="browser",
                output=page.output,
                http_status=page.http_status,
            )
    # A policy may allow it, but there is no such tool here.
    raise DeniedError("tool_not_listed", "the tool is not on the list")


def _shell(limits: Limits, sandbox: Sandbox, argv: list[str], use: str) -> ActionAnswer:
    profile = Profile(selfcheck.try_layers().active, limits.shell)
    ran = shell.run(profile, sandbox, argv, use)
    return ActionAnswer(
        outcome=ran.outcome,
        tool="shell",
        output=ran.output,
        truncated=ran.truncated,
        exit_code=ran.exit_code,
    )
