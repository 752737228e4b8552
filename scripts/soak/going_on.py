"""A soak that was cut off: the command that goes on with it, and whether it can still pass."""

from __future__ import annotations

import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

from common.cli import ConfigurationError, ScriptError
from soak.folder import (
    LOCK,
    begun_command,
    begun_header,
    lock_of,
    pieces_at,
    resumable,
    soaks,
)
from soak.live import clock_of
from soak.spans import gaps_of, is_whole, longest_span_seconds, observed_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from soak.folder import SoakFolder
    from soak.spans import Piece

SCRIPT = ("python", "scripts/run_soak.py")
RESUME = "--resume"


def resume_command(typed: Sequence[str], run_id: str) -> str:
    """The command that was given, so that it goes on with this soak.

    Args:
        typed: of `run_soak.py`, or of `run_gate.py`, whose arguments for the script follow `--`.
        run_id: of the soak.
    """
    before = ("", *typed)
    words = [
        word
        for word, last in zip(typed, before, strict=False)
        if RESUME not in {word.partition("=")[0], last}
    ]
    if any(word.endswith("run_gate.py") for word in words[:2]) and "--" not in words:
        words.append("--")
    return shlex.join([*words, RESUME, run_id])


def waiting(output_dir: Path) -> list[tuple[str, str, str]]:
    """Soaks that wait to be gone on with: run id, the command that does it, what it is good for.

    One that runs now, or that was stopped by a finding, does not wait; one whose files are
    being written at this moment is left out.
    """
    found = []
    for run_id in resumable(output_dir):
        path = soaks(output_dir) / run_id
        with suppress(ScriptError, OSError, KeyError):
            asked = begun_header(output_dir, run_id).seconds
            command = resume_command(begun_command(path) or SCRIPT, run_id)
            if not _in_use(path):
                found.append((run_id, command, prospect_of(pieces_at(path), asked)))
    return found


def _in_use(path: Path) -> bool:
    """Whether another process has it; nothing is changed by asking."""
    if not (path / LOCK).exists():
        return False
    try:
        lock_of(path).release()
    except ConfigurationError:
        return True
    return False


def prospect_of(pieces: Sequence[Piece], asked_seconds: float) -> str:
    """What going on is good for, in one line.

    Args:
        pieces: that were observed; what is left is sent in one piece.
        asked_seconds: of the whole soak.
    """
    left = max(0.0, asked_seconds - observed_seconds(pieces))
    most, asked = max(longest_span_seconds(pieces), left), clock_of(asked_seconds)
    if is_whole(most, asked_seconds):
        return f"that can still pass: {asked} without a break are still possible"
    return (
        "that completes the measurement, but can't pass any more: at most "
        f"{clock_of(most)} of {asked} could be unbroken; for a pass start a new soak"
    )


def broken_span_of(folder: SoakFolder) -> str | None:
    """Why a soak that has observed everything can't pass; None where it can."""
    pieces, asked = folder.pieces(), folder.header.seconds
    longest = longest_span_seconds(pieces)
    gaps = sorted(gaps_of(pieces), key=lambda gap: gap.begin_seconds - gap.end_seconds)
    if not gaps or is_whole(longest, asked):
        return None
    first, more = gaps[0], f" (and {len(gaps) - 1} shorter gaps)" if len(gaps) > 1 else ""
    return (
        f"not observed for {first.end_seconds - first.begin_seconds:.0f} s, from "
        f"{clock_of(first.begin_seconds)} to {clock_of(first.end_seconds)}{more} "
        f"({first.why}): the longest unbroken span is {clock_of(longest)} and can no longer "
        f"reach {clock_of(asked)}; a broken span can't pass: start a new soak"
    )
