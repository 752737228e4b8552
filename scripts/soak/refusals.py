"""What can't be soaked, said before anything is started or recorded in the ledger."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from common.cli import ConfigurationError

if TYPE_CHECKING:
    import argparse

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
    """What only a run knows, such as its commit, is compared again when it begins."""
    from soak.folder import begun_header

    header = begun_header(options.output_dir, options.resume)
    wanted = replace(
        header,
        stack=stack.name,
        stack_sha256=stack.sha256,
        seconds=options.duration / options.speed,
        speed=options.speed,
        engine=options.engine,
    )
    header.require_same(wanted)


def _check_locust() -> None:
    from traffic.engines import require_locust
    from traffic.locust_wire import token_of

    require_locust(
        "`make gate2` and `nox -s gate2` install it where the arguments ask for it; "
        f"by hand: `uv run --with locust {sys.argv[0]}`"
    )
    token_of(os.environ)
