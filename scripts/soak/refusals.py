"""What can't be soaked, said before anything is started or recorded in the ledger."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from pathlib import Path

    from stack.model import Stack


def check_can_run(options: argparse.Namespace, stack: Stack) -> None:
    """Everything that the command line and the stack file tell.

    Raises:
        ConfigurationError: no traffic, no such soak to go on with, or Locust can't be used.
    """
    from traffic.engines import LOCUST

    if not stack.traffic:
        raise ConfigurationError(
            f"{stack.file.name} has no traffic: there is nothing to soak it with: "
            "add the section `traffic` (docs/stack-file.md)"
        )
    if options.resume:
        _check_resumed(options, stack)
    if options.engine == LOCUST:
        _check_locust()


def _check_resumed(options: argparse.Namespace, stack: Stack) -> None:
    """Before the ledger hears of it; compared again when the run begins.

    On which runtime that will be is not known here where it already runs elsewhere.
    """
    from evidence.envelope import commit_of, contract_sha256
    from soak.folder import begun_header

    header = begun_header(options.output_dir, options.resume)
    wanted = replace(
        header,
        stack=stack.name,
        stack_sha256=stack.sha256,
        contract_sha256=contract_sha256(stack),
        **_commit(stack, commit_of),
        seconds=options.duration / options.speed,
        speed=options.speed,
        engine=options.engine,
    )
    header.require_same(wanted)


def _commit(stack: Stack, look: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """As the envelope of a run has it: none is known of a system that somebody else started."""
    if stack.service(stack.workload.service).overridden:
        return {"commit_sha": None, "commit_dirty": None}
    found = look(stack.here)
    return {"commit_sha": found["sha"], "commit_dirty": found["dirty"]}


def _check_locust() -> None:
    from traffic.engines import require_locust
    from traffic.locust_wire import token_of

    require_locust(
        "`make gate2` and `nox -s gate2` install it where the arguments ask for it; "
        f"by hand: `uv run --with locust {sys.argv[0]}`"
    )
    token_of(os.environ)
