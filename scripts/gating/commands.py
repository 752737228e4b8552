"""The commands that messages advise: as a user types them in the checkout, ready to paste."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from common.options import REFERENCE_STACK
from stack.runtime import EXTERNAL

if TYPE_CHECKING:
    from stack.model import Stack

_WINDOWS = os.name == "nt"
# What bootstrap makes; the scripts' packages are there whatever `python` is.
PYTHON = r".venv\Scripts\python" if _WINDOWS else ".venv/bin/python"
LEDGER_SCRIPT = f"{PYTHON} scripts/ledger.py"


def gate_command(gate: str, arguments: str = "") -> str:
    """How to run a gate, with the arguments of `run_arguments`."""
    if _WINDOWS:
        return rf".venv\Scripts\nox -s {gate}" + (f" -- {arguments}" if arguments else "")
    return f"make {gate}" + (f' ARGS="{arguments}"' if arguments else "")


def run_arguments(stack: Stack, runtime: str) -> str:
    """The arguments without which a gate would run another stack, or on another runtime.

    Args:
        stack: that is to be proven.
        runtime: a name of the stack file's, or `external`, which a variable chooses.
    """
    given: list[str] = []
    if runtime not in {stack.runtimes[0], EXTERNAL}:
        given += ["--runtime", runtime]
    return shlex.join(given + stack_arguments(stack.file))


def stack_arguments(file: Path) -> list[str]:
    """`--stack` with its file, where it is not the reference system."""
    file = file.resolve()
    if file == REFERENCE_STACK.resolve():
        return []
    here = Path.cwd()
    return ["--stack", str(file.relative_to(here) if file.is_relative_to(here) else file)]
