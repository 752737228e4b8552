"""Prerequisites (G0): small declared checks; each failure says what to do."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cli import MINIMUM_PYTHON, ConfigurationError, ScriptError
from common.folders import ROOT, cache_folder
from stack.compose.command import find_compose
from stack.compose.engine import connect, find_endpoint
from stack.environment import locked_versions
from stack.ports import describe_owner, local_ports, port_is_free

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from stack.model import Stack

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
MINIMUM_FREE_BYTES = 256 << 20
# Images of a database, a queue and the services, and their volumes.
MINIMUM_ENGINE_BYTES = 2 << 30
_DEPENDENCY = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Surroundings:
    """What the checks look at; tests hand in broken ones."""

    stack: Stack
    output_dir: Path
    environ: Mapping[str, str]
    python: tuple[int, ...] = sys.version_info[:3]
    external: bool = False
    runtime: str = "process"


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
    if around.runtime == "compose" and not find_endpoint(around.environ).local:
        raise _SkippedError("the ports are on another machine")
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
    requirements = _requirements(around)
    if around.external or requirements is None:
        raise _SkippedError("no program of the stack is installed by us")
    try:
        return f"{len(locked_versions(requirements))} packages with hashes"
    except ConfigurationError as problem:
        raise _FailedError(str(problem)) from None


def _requirements(around: Surroundings) -> Path | None:
    if around.runtime == "compose":
        python = around.stack.compose and around.stack.compose.python
        return python.requirements if python else None
    return around.stack.process.requirements if around.stack.process else None


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
    if around.runtime != "process":
        raise _SkippedError("the images say what their services run with")
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


def compose_program(around: Surroundings) -> str:
    """`docker compose` or `docker-compose` is there."""
    _only_for_compose(around)
    return find_compose(around.environ).version


def docker_engine(around: Surroundings) -> str:
    """The engine answers, and this user may talk to it."""
    _only_for_compose(around)
    engine = connect(around.environ)
    try:
        return f"{engine.version()} at {engine.endpoint.url}"
    finally:
        engine.close()


def engine_disk(around: Surroundings) -> str:
    """There is room for images and volumes where the engine keeps them."""
    _only_for_compose(around)
    try:
        engine = connect(around.environ)
    except ScriptError:
        raise _SkippedError("no engine answers") from None
    try:
        root = str(engine.api.info()["DockerRootDir"])
        local = engine.endpoint.local
    finally:
        engine.close()
    try:
        free = shutil.disk_usage(root).free if local else None
    except OSError:
        free = None
    if free is None:
        raise _SkippedError(f"the disk of {root} can't be seen from here")
    if free < MINIMUM_ENGINE_BYTES:
        wanted, have = MINIMUM_ENGINE_BYTES >> 20, free >> 20
        raise _FailedError(
            f"expected {wanted} MiB free at {root}, got {have} MiB: free space (docker system df)"
        )
    return f"{free >> 30} GiB free at {root}"


def _only_for_compose(around: Surroundings) -> None:
    if around.external or around.runtime != "compose":
        raise _SkippedError("no container is started")


BOOT_CHECKS = (
    python_version,
    packages_locked,
    requirements_locked,
    folders_writable,
    compose_program,
    docker_engine,
    engine_disk,
    ports_free,
)
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
        except (_FailedError, ScriptError) as problem:
            results.append(CheckResult(name, FAILED, str(problem)))
        except _SkippedError as reason:
            results.append(CheckResult(name, SKIPPED, str(reason)))
    return results


def _script_dependencies() -> set[str]:
    """The packages of the group `scripts`; what only a worker on another machine needs is none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    found = (_DEPENDENCY.match(item) for item in project["dependency-groups"]["scripts"])
    return {match[0].lower() for match in found if match}


def surroundings(
    stack: Stack, output_dir: Path, *, external: bool = False, runtime: str | None = None
) -> Surroundings:
    """The surroundings of this process; `runtime` is by default the stack file's first."""
    chosen = runtime or stack.runtimes[0]
    return Surroundings(stack, output_dir, os.environ, external=external, runtime=chosen)
