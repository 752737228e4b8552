"""The commands that messages advise: ready to paste, from the folder where the user is."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.options import ARTIFACTS, REFERENCE_STACK, ROOT
from stack.runtime import EXTERNAL

if TYPE_CHECKING:
    from stack.model import Stack

_WINDOWS = os.name == "nt"
_PROGRAMS = Path(".venv/Scripts" if _WINDOWS else ".venv/bin")


def script_command(name: str, *arguments: str) -> str:
    """How to run a script with the packages of the checkout, whatever `python` is."""
    python = ROOT / _PROGRAMS / ("python.exe" if _WINDOWS else "python")
    program = _shown(python) if python.exists() else sys.executable
    return shlex.join([program, _shown(ROOT / "scripts" / f"{name}.py"), *arguments])


def gate_command(gate: str, arguments: str = "") -> str:
    """How to run a gate, with the arguments of `run_arguments`."""
    if _WINDOWS:
        nox = _shown(ROOT / _PROGRAMS / "nox")
        return f"{nox} -s {gate}" + (f" -- {arguments}" if arguments else "")
    make = "make" if Path.cwd() == ROOT else f"make -C {shlex.quote(str(ROOT))}"
    return f"{make} {gate}" + (f' ARGS="{arguments}"' if arguments else "")


def run_arguments(
    stack: Stack,
    runtime: str,
    *,
    output_dir: Path = ARTIFACTS,
    ledger: Path | None = None,
    key: str | None = None,
    public_key: Path | None = None,
) -> str:
    """The arguments without which a gate would run another stack, or into another ledger.

    Args:
        stack: that is to be proven.
        runtime: a name of the stack file's, or `external`, which a variable chooses.
        output_dir: of the command line that this one follows, as are the others.
        ledger: where it is not in that folder.
        key: a private key or signer URI.
        public_key: of a signer URI.
    """
    given: list[str] = []
    if runtime not in {stack.runtimes[0], EXTERNAL}:
        given += ["--runtime", runtime]
    given += stack_arguments(stack.file)
    # Whole: make and nox work in the checkout, wherever the user is.
    if output_dir.resolve() != ARTIFACTS:
        given += ["--output-dir", str(output_dir.resolve())]
    named = {"--ledger": ledger, "--key": key, "--public-key": public_key}
    for name, value in named.items():
        if value is not None:
            whole = isinstance(value, Path) or Path(value).exists()
            given += [name, str(Path(value).resolve()) if whole else str(value)]
    return shlex.join(given)


def stack_arguments(file: Path) -> list[str]:
    """`--stack` with its file, where it is not the reference system."""
    whole = file.resolve()
    return [] if whole == REFERENCE_STACK else ["--stack", str(whole)]


def _shown(path: Path) -> str:
    """Short where the user is in the checkout."""
    return str(path.relative_to(ROOT) if Path.cwd() == ROOT else path)
