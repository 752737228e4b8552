"""Set limits on this process, then become the program that the shell tool allows.

Run as `python -I -S launch.py FOLDER_DESCRIPTOR PROGRAM ARGUMENT...` on systems with
`resource` and `exec`. It stands between the executor and the program because code
between fork and exec (`preexec_fn`) may deadlock in a process with threads.
Standard library only, and as little of it as possible: it runs at every command.
"""

from __future__ import annotations

import os
import resource
import sys

CPU_SECONDS = 5
MEMORY_BYTES = 1 << 30
OPEN_FILES = 32


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (allowed, allowed))


def main(arguments: list[str]) -> None:
    """Apply the limits and replace this process; the environment is empty afterwards."""
    folder, program = int(arguments[0]), arguments[1]
    os.fchdir(folder)
    os.close(folder)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    if sys.platform == "linux":
        # Other systems refuse or ignore these two; Linux is where the executor is deployed.
        _limit(resource.RLIMIT_AS, MEMORY_BYTES)
        _limit(resource.RLIMIT_NPROC, 0)
    os.execve(program, arguments[1:], {})  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main(sys.argv[1:])
