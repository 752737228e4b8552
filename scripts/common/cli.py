"""Command line of every script: exit codes, expected errors, `--help` with examples.

Imports the standard library only, and comes first in every script, so that a
missing package becomes one line and `--help` stays fast.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
import threading
from enum import IntEnum
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

MINIMUM_PYTHON = (3, 11)
_INTERRUPTING = ("SIGTERM", "SIGHUP")


class Exit(IntEnum):
    """Exit codes of all scripts (design.md, "Verdicts")."""

    PASSED = 0
    FAILED = 1
    INCONCLUSIVE = 2
    USAGE = 64
    CONFIGURATION = 78
    INTERRUPTED = 130


class ScriptError(Exception):
    """Expected trouble: one line that says what is wrong and what to do.

    Args:
        message: "what is wrong: what to do", without a trailing full stop.
        code: the process exit code; a script with documented codes of its own
            (`run_proof_pack.py`, P2) passes its own.
    """

    code: int = Exit.INCONCLUSIVE

    def __init__(self, message: str, code: int | None = None) -> None:
        """See the class."""
        super().__init__(message)
        if code is not None:
            self.code = int(code)


class UsageError(ScriptError):
    """Bad command-line arguments: exit code 64."""

    code = Exit.USAGE


class ConfigurationError(ScriptError):
    """A broken or missing input file, variable or folder: exit code 78."""

    code = Exit.CONFIGURATION


class Interrupted(KeyboardInterrupt):
    """SIGTERM or SIGHUP, treated like Ctrl-C so that everything is cleaned up."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}: see `{self.prog} --help`")


def make_parser(doc: str | None, examples: Sequence[str] = ()) -> argparse.ArgumentParser:
    """A parser whose errors are `UsageError` and whose help ends with examples.

    Args:
        doc: the script's docstring; shown as it stands.
        examples: command lines, one each.
    """
    epilog = "examples:\n" + "\n".join(f"  {line}" for line in examples) if examples else None
    return _Parser(
        prog=os.path.basename(sys.argv[0]) if sys.argv[0].endswith(".py") else None,  # noqa: PTH119 - pathlib costs 10 ms of --help
        description=doc,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def positive_int(text: str) -> int:
    """An argparse type: a whole number from 1 to 1,000,000."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 1_000_000:  # noqa: PLR2004 - stated in the message
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to 1000000, got {text!r}")
    return value


def positive_float(text: str) -> float:
    """An argparse type: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def run(main: Callable[[], int]) -> NoReturn:
    """Run a script's `main` and exit with its code; the only place that prints errors.

    An expected error is one line on stderr; Ctrl-C, SIGTERM and SIGHUP are exit
    code 130; a bug keeps its traceback and exits 2, never 1, because 1 means that
    the system under proof failed.
    """
    try:
        _check_python()
        _signals_interrupt()
        code = int(main())
        sys.stdout.flush()
    except ScriptError as problem:
        code = _say(str(problem), problem.code)
    except KeyboardInterrupt:
        code = _say("interrupted: nothing was left running", Exit.INTERRUPTED)
    except ModuleNotFoundError as problem:
        code = _say(
            f"the package {problem.name!r} is not installed for {sys.executable}: "
            f"{_with_packages()}",
            Exit.CONFIGURATION,
        )
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not our failure to report.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.INCONCLUSIVE
    except OSError as problem:
        if problem.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
            raise SystemExit(_traceback()) from None
        where = f" writing {problem.filename}" if problem.filename else ""
        code = _say(
            f"{(problem.strerror or 'no space').lower()}{where}: free space", Exit.INCONCLUSIVE
        )
    except Exception:  # noqa: BLE001 - a bug: keep its traceback, but never exit 1
        code = _traceback()
    raise SystemExit(code)


@contextlib.contextmanager
def nothing_started() -> Iterator[None]:
    """Around what comes before anything is started: a Ctrl-C in here is said as just that.

    Raises:
        ScriptError: interrupted; with its exit code.
    """
    try:
        yield
    except KeyboardInterrupt as problem:
        raise ScriptError(
            "interrupted: nothing was started, and nothing is left", Exit.INTERRUPTED
        ) from problem


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a bounded clean-up finish: Ctrl-C and SIGTERM inside the block are ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGINT", *_INTERRUPTING) if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), signal.SIG_IGN) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def _say(message: str, code: int) -> int:
    line = " ".join(message.split())
    with contextlib.suppress(OSError):  # a closed terminal: the code still says it
        print(f"error: {line}", file=sys.stderr)
    return code


def _with_packages() -> str:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120 - pathlib costs --help 10 ms
    python = os.path.join(root, ".venv", "Scripts" if os.name == "nt" else "bin", "python")  # noqa: PTH118
    if os.path.exists(python) or os.path.exists(f"{python}.exe"):  # noqa: PTH110
        return f"run it with `{python} {sys.argv[0]}`"
    return f"run `make bootstrap` once, or `uv run {sys.argv[0]}`"


def _traceback() -> int:
    import traceback

    traceback.print_exc()
    return Exit.INCONCLUSIVE


def _check_python() -> None:
    if sys.version_info < MINIMUM_PYTHON:
        wanted = ".".join(map(str, MINIMUM_PYTHON))
        have = ".".join(map(str, sys.version_info[:3]))
        raise ConfigurationError(f"expected Python {wanted} or newer, got {have}: use a newer one")


def _signals_interrupt() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for name in _INTERRUPTING:
        number = getattr(signal, name, None)
        # nohup's SIG_IGN is a wish to live on: keep it.
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(signum: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted(signal.Signals(signum).name)
