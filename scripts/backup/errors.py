"""What a backup may be refused for."""

from __future__ import annotations

from common.cli import Exit, ScriptError


class DamagedError(ScriptError):
    """An archive is not what its writer made of it: it restores nothing."""

    code = Exit.FAILED


class RefusedError(ScriptError):
    """An archive is whole, but must not be restored, or not here."""

    code = Exit.FAILED


def reason_of(problem: OSError) -> str:
    """The system's own words for what went wrong, in lower case."""
    return (problem.strerror or str(problem)).lower()
