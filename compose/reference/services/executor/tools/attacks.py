"""What a hostile program would try; started by the self-check, never by a caller.

Run as `python -I -S attacks.py SECRET_FILE PORT` in the sandbox. Prints one JSON object: the
name of each attack, and whether it got through. Standard library only; whatever it leaves is
in a folder that is removed after it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_HUGE_BYTES = 3 << 29
_MANY_FILES = 300
_GET_NO_NEW_PRIVILEGES = 39


def read_outside(secret: str, _port: int) -> bool:
    """Read a file that lies beside the sandbox."""
    with open(secret, encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow to load
        return file.read() == "secret"


def write_file(_secret: str, _port: int) -> bool:
    """Write into the working folder."""
    with open("written", "wb", buffering=0) as file:  # noqa: PTH123 - as above
        return file.write(b"x") == 1


def open_socket(_secret: str, _port: int) -> bool:
    """Have a socket at all."""
    import _socket

    _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM).close()
    return True


def connect(_secret: str, port: int) -> bool:
    """Reach a server that listens on this machine."""
    import _socket

    found = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    found.settimeout(2)
    found.connect(("127.0.0.1", port))
    found.close()
    return True


def start_process(_secret: str, _port: int) -> bool:
    """Have a child, which could leave the session and outlive its parent."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def signal_parent(_secret: str, _port: int) -> bool:
    """Be able to kill the executor; signal 0 only asks."""
    os.kill(os.getppid(), 0)
    return True


def take_memory(_secret: str, _port: int) -> bool:
    """Have far more memory than a listed program needs; none of it is touched."""
    import mmap

    with mmap.mmap(-1, _HUGE_BYTES) as found:
        return len(found) == _HUGE_BYTES


def open_many_files(_secret: str, _port: int) -> bool:
    """Use up the system's table of open files."""
    handles: list[int] = []
    try:
        while len(handles) < _MANY_FILES:
            handles.append(os.open(".", os.O_RDONLY))
    finally:
        for handle in handles:
            os.close(handle)
    return True


def gain_privileges(_secret: str, _port: int) -> bool:
    """Be let to become another user by a set-uid program."""
    import ctypes

    return int(ctypes.CDLL(None).prctl(_GET_NO_NEW_PRIVILEGES, 0, 0, 0, 0)) == 0


ATTACKS: tuple[Callable[[str, int], bool], ...] = (
    read_outside,
    write_file,
    open_socket,
    connect,
    start_process,
    signal_parent,
    take_memory,
    open_many_files,
    gain_privileges,
)


def main(secret: str, port: int) -> dict[str, bool]:
    """Every attack, and whether it got through."""
    found = {}
    for attack in ATTACKS:
        try:
            found[attack.__name__] = attack(secret, port)
        except (OSError, MemoryError):
            found[attack.__name__] = False
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
