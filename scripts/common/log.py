"""Progress for people on stderr: plain lines in a pipe, colour on a terminal."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

_START = time.monotonic()
_quiet = False


def set_quiet(quiet: bool) -> None:  # noqa: FBT001 - one switch, named at its only call
    """Keep progress lines to warnings."""
    global _quiet  # noqa: PLW0603 - one process, one terminal
    _quiet = quiet


def colour_wanted() -> bool:
    """Whether stderr is a terminal and NO_COLOR (https://no-color.org) is unset."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def say(message: str) -> None:
    """One progress line, with the seconds since the script started."""
    if not _quiet:
        result(f"{time.monotonic() - _START:7.2f}s  {message}", to_stderr=True)


def result(line: str, *, to_stderr: bool = False) -> None:
    """One line of the result. A reader that went away (`| head`, a closed terminal) loses it;
    the run goes on, because its evidence matters more than its output.
    """
    stream = sys.stderr if to_stderr else sys.stdout
    try:
        print(line, file=stream, flush=True)
    except OSError:
        _to_nowhere(stream)


def _to_nowhere(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def warn(message: str) -> None:
    """One warning line; kept in quiet mode."""
    text = f"warning: {message}"
    result(f"\033[33m{text}\033[0m" if colour_wanted() else text, to_stderr=True)
