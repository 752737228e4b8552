"""Serve one service and start it anew whenever its code changes: `python -m reload NAME`.

Development only. Looks at modification times twice a second, because file events don't
cross into the containers of a virtual machine (Docker Desktop).
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDERS = (Path("/app/services"), Path("/app/policies"))
PATTERNS = ("*.py", "*.yaml", "*.lua")
LOOK_SECONDS = 0.5
STOP_SECONDS = 5.0


def stamp() -> frozenset[tuple[str, int, int]]:
    """Every watched file with its time and size."""
    found = set()
    for folder in FOLDERS:
        for pattern in PATTERNS:
            for path in folder.rglob(pattern):
                with contextlib.suppress(FileNotFoundError):  # an editor replaced it just now
                    status = path.stat()
                    found.add((str(path), status.st_mtime_ns, status.st_size))
    return frozenset(found)


def wait_for_change(before: frozenset[tuple[str, int, int]]) -> None:
    """Return when a watched file is another than `before`; an ended service waits, too."""
    while stamp() == before:
        time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def serving(arguments: list[str]) -> Iterator[None]:
    """The service runs inside the block, and is gone after it."""
    process = subprocess.Popen([sys.executable, "-m", "services", *arguments])
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def stop(_signum: int, _frame: object) -> NoReturn:
    """End with the service, not before it."""
    raise SystemExit(0)


def main(arguments: list[str]) -> NoReturn:
    """Serve until told to stop."""
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while True:
        before = stamp()
        with serving(arguments):
            wait_for_change(before)
        print("the code changed: starting anew", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
