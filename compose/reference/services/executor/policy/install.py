"""Bring a policy into force: compiled first, so that a broken one stays outside."""

from __future__ import annotations

from pathlib import Path

from services.executor.policy.rego import RegoError
from services.executor.policy.store import compile_policy
from services.executor.policy.versions import (
    PolicyFilesError,
    approve,
    brought_in,
    note_brought_in,
    read_version,
    write_version,
)

SHIPPED = Path(__file__).resolve().parents[3] / "policies"


def install(source: Path, folder: Path) -> str:
    """Let the policy files of `source` be in force, and give their hash.

    Raises:
        PolicyFilesError: they are missing or don't compile, or the folder can't be written.
    """
    files = read_version(source)
    try:
        compile_policy(files)
        return write_version(folder, files)
    except (RegoError, ValueError) as problem:
        raise PolicyFilesError(f"the policy is not valid: {problem}: nothing was changed") from (
            problem
        )
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise PolicyFilesError(
            f"can't write {folder}: {reason}: choose another folder"
        ) from problem


def install_shipped(folder: Path) -> None:
    """Let the policy that came with this code be in force, once for each that comes.

    What an operator has brought in since stays, and so does a drift, until new code brings
    another policy: a mere restart hides nothing.

    Raises:
        PolicyFilesError: it doesn't compile, or the folder can't be written.
    """
    shipped = read_version(SHIPPED).sha256
    if brought_in(folder) != shipped:
        install(SHIPPED, folder)
        note_brought_in(folder, shipped)


def use(folder: Path, sha256: str) -> str:
    """Let a version that was installed before be in force again.

    Raises:
        PolicyFilesError: there is none of that hash.
    """
    approve(folder, sha256)
    return sha256
