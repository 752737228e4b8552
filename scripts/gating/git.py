"""What the rules ask git: does this commit exist, does one contain another, what was committed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from common.cli import ConfigurationError

COMMIT = re.compile(r"[0-9a-f]{40}")
_SECONDS = 30
# A checkout's own settings may not start programs while we look.
_SAFE = (
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "--no-pager",
    "--no-replace-objects",
)


def commit_exists(folder: Path, sha: str) -> bool:
    """Whether the repository of `folder` has this commit, named by all its 40 hex digits."""
    if not COMMIT.fullmatch(sha):
        return False
    return _git(folder, "cat-file", "-e", f"{sha}^{{commit}}").returncode == 0


def is_ancestor(folder: Path, ancestor: str, sha: str) -> bool:
    """Whether `sha` contains `ancestor`; False where either is no commit of the repository."""
    if not (COMMIT.fullmatch(ancestor) and COMMIT.fullmatch(sha)):
        return False
    return _git(folder, "merge-base", "--is-ancestor", ancestor, sha).returncode == 0


def committed_versions(path: Path) -> tuple[bytes, ...]:
    """Every content that a file has had in the history of HEAD; none outside a checkout.

    A shallow clone shows only what it has.

    Raises:
        ConfigurationError: git fails in a checkout.
    """
    folder = path.parent
    if _git(folder, "rev-parse", "--verify", "--quiet", "HEAD").returncode != 0:
        return ()
    log = _git(folder, "log", "--full-history", "--format=%H", "--", path.name)
    if log.returncode != 0:
        reason = log.stderr.decode("utf-8", "replace").strip()
        raise ConfigurationError(f"git can't tell the history of {path}: {reason}")
    found = []
    for sha in log.stdout.decode("ascii").split():
        blob = _git(folder, "cat-file", "blob", f"{sha}:./{path.name}")
        if blob.returncode == 0:  # else the commit that removed it
            found.append(blob.stdout)
    return tuple(found)


def checkout_files(folder: Path) -> tuple[Path, list[Path]] | None:
    """The checkout that a folder stands in, and all files that git has or would take.

    Returns:
        None outside a checkout. Links and what was deleted are not among the files.

    Raises:
        ConfigurationError: git fails in a checkout.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top.returncode != 0:
        return None
    root = Path(os.fsdecode(top.stdout.rstrip(b"\n")))
    listed = _git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    if listed.returncode != 0:
        reason = listed.stderr.decode("utf-8", "replace").strip()
        raise ConfigurationError(f"git can't list the files of {root}: {reason}")
    names = sorted({os.fsdecode(name) for name in listed.stdout.split(b"\0") if name})
    paths = [root / name for name in names]
    return root, [path for path in paths if path.exists() and not path.is_symlink()]


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    # Inside a git hook these point at another repository.
    environment = {key: text for key, text in os.environ.items() if not key.startswith("GIT_")}
    command = ["git", "-C", str(folder), *_SAFE, *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, check=False, timeout=_SECONDS, env=environment
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise ConfigurationError(f"can't ask git about {folder}: {problem}") from problem
