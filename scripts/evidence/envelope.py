"""The envelope of every evidence file: where, when, by what and of what it was measured."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from common.documents import read_yaml
from common.folders import ROOT
from common.hashing import sha256_json
from evidence.criteria import GATE_FOLDER
from stack.runtime import EXTERNAL

if TYPE_CHECKING:
    from datetime import datetime

    from stack.model import Stack

# The checkout of Proof Pack itself.
KIT_FOLDER = ROOT
_PACKAGES = ("cryptography", "jsonschema", "psutil", "pyyaml", "requests", "securesystemslib")


def utc_text(moment: datetime) -> str:
    """RFC 3339 with seconds and Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def make_envelope(schema: str, stack: Stack, runtime: str, command: list[str]) -> dict[str, Any]:
    """The parts of an evidence file that are known before anything is measured.

    Args:
        schema: name and version, such as "run_summary/1".
        stack: the stack under proof.
        runtime: process, external, …
        command: the script and its arguments.
    """
    return {
        "schema": schema,
        "script": Path(command[0]).stem,
        # Of a system that somebody else started no commit is known.
        "commit": {"sha": None, "dirty": None} if runtime == EXTERNAL else commit_of(stack.here),
        "kit_commit": commit_of(KIT_FOLDER),
        "contract_sha256": contract_sha256(stack),
        "stack": {"name": stack.name, "file": _relative(stack.file), "sha256": stack.sha256},
        "runtime": runtime,
        "host": host_facts(),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "command": command,
    }


def contract_sha256(stack: Stack) -> str:
    """SHA-256 over the canonical JSON (RFC 8785) of the stack file and all gate files."""
    gates = {path.stem: read_yaml(path).value for path in sorted(GATE_FOLDER.glob("*.yaml"))}
    return sha256_json({"stack": read_yaml(stack.file).value, "gates": gates})


def host_facts() -> dict[str, Any]:
    """What the figures were measured on; no host name, user name or address."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cpus": os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
    }


@functools.cache
def commit_of(folder: Path) -> dict[str, Any]:
    """`look_at_commit`, once in each program: what it started from."""
    return look_at_commit(folder)


def look_at_commit(folder: Path) -> dict[str, Any]:
    """Commit of the checkout that `folder` belongs to, and whether its tree has changes.

    Files that git was told to pass over (`update-index --skip-worktree`, `--assume-unchanged`)
    count as changes. Both are None where no file of `folder` is tracked: a copy that lies in
    an ignored folder of another repository is not that repository's commit.
    """
    if not _git(folder, "ls-files", "--", "."):
        return {"sha": None, "dirty": None}
    sha = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain", "--untracked-files=all")
    listed = _git(folder, "ls-files", "-v", "--", ":/")
    if status is None or listed is None:
        return {"sha": sha or None, "dirty": None}
    passed_over = any(line[:1] == "S" or line[:1].islower() for line in listed.splitlines())
    return {"sha": sha or None, "dirty": bool(status) or passed_over}


def _git(folder: Path, *arguments: str) -> str | None:
    # Inside a git hook these point at another repository.
    environment = {key: text for key, text in os.environ.items() if not key.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def command_line(arguments: list[str] | None, script: str) -> list[str]:
    """The command as evidence: paths in the checkout as such, any other as its last name."""
    given = sys.argv[1:] if arguments is None else arguments
    shown = [_relative(Path(item)) if Path(item).is_absolute() else item for item in given]
    return [_relative(Path(script)), *shown]


def _relative(path: Path) -> str:
    """A path inside the checkout as such; any other as its name, to keep home folders out."""
    try:
        return path.resolve().relative_to(ROOT).as_posix()
    except ValueError:
        return path.name
