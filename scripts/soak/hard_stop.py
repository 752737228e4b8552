"""Evidence of a soak that is stopped: stacks of the services, last log lines, last requests.

Gathered while the system still runs: a deadlock is only visible before it is ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from common.cli import ScriptError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from detectors.finding import Finding
    from evidence.run_folder import RunFolder
    from soak.collector import Collector
    from stack.identity import Identity
    from stack.runtime import Runtime

FOLDER = "soak/hard_stop"
LOG_LINES = 100
LAST_REQUESTS = 200
STACK_SECONDS = 15
PROCESSES = 20


def find_py_spy() -> str | None:
    """py-spy beside this interpreter, or in PATH; None where it is not installed."""
    beside = Path(sys.executable).with_name("py-spy.exe" if os.name == "nt" else "py-spy")
    return str(beside) if beside.is_file() else shutil.which("py-spy")


def write_evidence(
    folder: RunFolder,
    runtime: Runtime,
    identities: Mapping[str, Identity | None],
    findings: Sequence[Finding],
    collector: Collector,
) -> list[str]:
    """Write what can still be seen of the system, and say what could not be had.

    Args:
        folder: the run folder.
        runtime: the system, still running.
        identities: its services as they are now.
        findings: why it is stopped.
        collector: the requests.

    Returns:
        A line for each thing that could not be had.
    """
    folder.write_json(f"{FOLDER}/findings.json", [item.as_json() for item in findings])
    rows = [
        {
            "profile": collector.names[sample.profile],
            "step": sample.step,
            "sequence": sample.sequence,
            "intended_seconds": round(sample.intended_seconds, 3),
            "latency_seconds": _rounded(sample.latency_seconds),
            "outcome": sample.outcome.name.lower(),
            "status": sample.status,
            "error": text,
        }
        for sample, text in [*collector.last]
    ]
    waiting = [item.as_json() for item in collector.in_flight]
    folder.write_json(f"{FOLDER}/requests.json", {"in_flight": waiting, "last": rows})
    for service in runtime.services:
        if path := runtime.log_path(service.name):
            folder.copy_log(f"{FOLDER}/{service.name}_log.txt", path, LOG_LINES)
    return [line for line in _write_stacks(folder, runtime, identities) if line]


def _rounded(value: float) -> float | None:
    return round(value, 6) if value == value else None  # noqa: PLR0124 - NaN is not itself


def _write_stacks(
    folder: RunFolder, runtime: Runtime, identities: Mapping[str, Identity | None]
) -> list[str | None]:
    if runtime.name != "process":
        return [f"no stacks: the services of the runtime {runtime.name} can't be looked into"]
    program = find_py_spy()
    if program is None:
        return ["no stacks: py-spy is not installed: run `make bootstrap`"]
    said: list[str | None] = []
    for name, identity in sorted(identities.items()):
        if identity is None or identity.pid is None:
            said.append(f"no stacks of {name}: it has ended, or can't be seen")
            continue
        text, trouble = _stacks_of(program, identity.pid)
        said.append(trouble and f"no stacks of {name}: {trouble}")
        if text:
            folder.write_text(f"{FOLDER}/{name}_stacks.txt", text)
    return said


def _stacks_of(program: str, pid: int) -> tuple[str, str | None]:
    """The stacks of every Python process of a tree, and what went wrong with the first."""
    try:
        tree = [pid, *(item.pid for item in psutil.Process(pid).children(recursive=True))]
    except psutil.Error:
        return "", "it has ended"
    texts, trouble = [], None
    for one in tree[:PROCESSES]:
        try:
            texts.append(f"== process {one}\n{_dump(program, one)}\n")
        except ScriptError as problem:
            trouble = trouble or str(problem)
    return "".join(texts), None if texts else trouble


def _dump(program: str, pid: int) -> str:
    try:
        done = subprocess.run(
            [program, "dump", "--pid", str(pid)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=STACK_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise ScriptError(f"py-spy: {problem}") from problem
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise ScriptError(f"py-spy: {lines[-1][:200]}")
    return done.stdout


def describe(findings: Sequence[Finding]) -> str:
    """Why the soak was stopped, in one line."""
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    detail = first.detail.removeprefix(f"{first.detector}: ")
    return f"{first.detector}: {first.subject}: {detail}{more}"


def stop_facts(
    findings: Sequence[Finding], at_seconds: float, said: Sequence[str]
) -> dict[str, Any]:
    """The summary's `hard_stop`."""
    return {
        "at_seconds": round(at_seconds, 3),
        "why": describe(findings),
        "detectors": sorted({item.detector for item in findings}),
        "not_had": list(said),
    }
