"""The Compose runtime: life cycle with `docker compose`, observation with the Docker SDK."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from common.cli import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stack.compose.runtime import ComposeRuntime
    from stack.model import Stack


def create(stack: Stack, environ: Mapping[str, str] = os.environ) -> ComposeRuntime:
    """The Compose runtime of a stack.

    Raises:
        ConfigurationError: the stack file has no `runtimes.compose`.
    """
    from stack.compose.runtime import ComposeRuntime

    if stack.compose is None:
        raise ConfigurationError(f"{stack.file}: expected the section runtimes.compose, got none")
    return ComposeRuntime(stack, stack.compose, environ)
