"""Prerequisites (G0): small declared checks; each failure says what to do."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cli import MINIMUM_PYTHON, ConfigurationError
from common.folders import ROOT, cache_folder
from stack.environment import locked_versions
from stack.ports import describe_owner, local_ports, port_is_free

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from stack.model import Stack

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
MINIMUM_FREE_BYTES = 256 << 20
_DEPENDENCY = re.compile(r'^# +"([A-Za-z0-9._-]+)')


@dataclass(frozen=True)
class Surroundings:
    """What the checks look at; tests hand in broken ones."""

    stack: Stack
    output_dir: Path
    environ: Mapping[str, str]
    python: tuple[int, ...] = sys.version_info[:3]
    external: bool = False


@dataclass(frozen=True)
class CheckResult:
    """One check: passed, failed (with what to do) or skipped (with why)."""

    name: str
    outcome: str
    detail: str


class _FailedError(Exception):
    """What is wrong and what to do."""


class _SkippedError(Exception):
    """Why a check does not apply."""


def python_version(around: Surroundings) -> str:
    """Python is new enough."""
    if around.python < MINIMUM_PYTHON:
        wanted, have = (".".join(map(str, part)) for part in (MINIMUM_PYTHON, around.python))
        raise _FailedError(f"expected Python {wanted} or newer, got {have}: install a newer one")
    return ".".join(map(str, around.python))


def packages_locked(_around: Surroundings) -> str:
    """The packages that the scripts name are installed in the versions of the lock."""
    locked = locked_versions(ROOT / "constraints.txt")
    wanted = sorted(_script_dependencies())
    for name in wanted:
        try:
            have = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise _FailedError(
                f"expected {name} {locked.get(name)}, got none: make bootstrap"
            ) from None
        if have != locked.get(name):
            raise _FailedError(f"expected {name} {locked.get(name)}, got {have}: make bootstrap")
    return f"{len(wanted)} packages as in constraints.txt"


def ports_free(around: Surroundings) -> str:
    """No service's port is taken."""
    if around.external:
        raise _SkippedError("the stack already runs")
    ports = local_ports(around.stack.services)
    for name, port in ports.items():
        if not port_is_free(port):
            raise _FailedError(f"port {port} of {name} is taken by {describe_owner(port)}: stop it")
    return ", ".join(map(str, sorted(ports.values())))


def folders_writable(around: Surroundings) -> str:
    """State, logs and artifacts can be written, and there is room."""
    folders = {"state and logs": cache_folder(), "artifacts": around.output_dir}
    for what, folder in folders.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as problem:
            reason = (problem.strerror or "not writable").lower()
            raise _FailedError(
                f"can't write {what} to {folder}: {reason}: choose another"
            ) from None
        free = shutil.disk_usage(folder).free
        if free < MINIMUM_FREE_BYTES:
            wanted, have = MINIMUM_FREE_BYTES >> 20, free >> 20
            raise _FailedError(
                f"expected {wanted} MiB free at {folder}, got {have} MiB: free space"
            )
    return f"{len(folders)} folders"


def requirements_locked(around: Surroundings) -> str:
    """The stack's own programs have a lock with a hash for every package."""
    process = around.stack.process
    if around.external or process is None or process.requirements is None:
        raise _SkippedError("no program of the stack is installed by us")
    try:
        return f"{len(locked_versions(process.requirements))} packages with hashes"
    except ConfigurationError as problem:
        raise _FailedError(str(problem)) from None


def hash_seed(around: Surroundings) -> str:
    """PYTHONHASHSEED is 0 for the scripts."""
    got = around.environ.get("PYTHONHASHSEED")
    if got != "0":
        raise _FailedError(f"expected PYTHONHASHSEED=0, got {got!r}: export PYTHONHASHSEED=0")
    return "PYTHONHASHSEED=0"


def deterministic_mode(around: Surroundings) -> str:
    """PYTHONHASHSEED is 0 for every service that the process runtime starts."""
    process = around.stack.process
    if around.external or process is None:
        raise _SkippedError("the services are not started by us")
    if process.requirements is None:
        raise _SkippedError("the stack names no Python packages of its own")
    for name, entry in process.services.items():
        got = {**process.environment, **entry.environment}.get("PYTHONHASHSEED")
        if got != "0":
            raise _FailedError(
                f"expected PYTHONHASHSEED '0' in the environment of {name}, got {got!r}: "
                f"set it under runtimes.process.environment in {around.stack.file.name}"
            )
    return f"{len(process.services)} services"


BOOT_CHECKS = (python_version, packages_locked, requirements_locked, folders_writable, ports_free)
GATE_CHECKS = (*BOOT_CHECKS, hash_seed, deterministic_mode)


def run_checks(
    around: Surroundings, checks: tuple[Callable[[Surroundings], str], ...] = GATE_CHECKS
) -> list[CheckResult]:
    """Run the checks; every one, so that all trouble is seen at once."""
    results = []
    for check in checks:
        name = check.__name__.replace("_", "-")
        try:
            results.append(CheckResult(name, PASSED, check(around)))
        except _FailedError as problem:
            results.append(CheckResult(name, FAILED, str(problem)))
        except _SkippedError as reason:
            results.append(CheckResult(name, SKIPPED, str(reason)))
    return results


def _script_dependencies() -> set[str]:
    """The packages in the PEP 723 headers of scripts/*.py."""
    found: set[str] = set()
    for path in (ROOT / "scripts").glob("*.py"):
        for line in path.read_text("utf-8").splitlines():
            if line == "# ///" and found:
                break
            if match := _DEPENDENCY.match(line):
                found.add(match[1].lower())
    return found


def surroundings(stack: Stack, output_dir: Path, *, external: bool = False) -> Surroundings:
    """The surroundings of this process."""
    return Surroundings(stack, output_dir, os.environ, external=external)
