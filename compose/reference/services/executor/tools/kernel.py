"""openat2(2): open a name in a folder, and nothing that a link or mount makes of it (G3c).

Python has no call for it, so ctypes makes one. Where the kernel has none (before Linux 5.6,
other systems, or a filter around the container) the caller's O_NOFOLLOW has to do.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache

_OPENAT2 = 437  # the same on every machine
_NO_MOUNTS, _NO_MAGIC_LINKS, _NO_LINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
RESOLVE = _NO_MOUNTS | _NO_MAGIC_LINKS | _NO_LINKS | _BENEATH


class _How(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


@cache
def has_openat2() -> bool:
    """Whether the kernel has the call, and lets us make it: asked by making it."""
    if sys.platform != "linux":
        return False
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.close(_openat2(".", os.O_RDONLY | os.O_DIRECTORY, 0, folder))
    except OSError:
        return False
    finally:
        os.close(folder)
    return True


def open_beneath(name: str, flags: int, mode: int = 0o600, dir_fd: int | None = None) -> int:
    """Open `name` in the folder `dir_fd`; without links, and on the folder's own file system.

    Raises:
        OSError: as `os.open`; ELOOP or EXDEV where a link or mount is in the way.
    """
    if dir_fd is None or not has_openat2():
        return os.open(name, flags, mode, dir_fd=dir_fd)
    return _openat2(name, flags | os.O_CLOEXEC, mode, dir_fd)


def _openat2(name: str, flags: int, mode: int, dir_fd: int) -> int:
    how = _How(flags, mode if flags & os.O_CREAT else 0, RESOLVE)
    library = ctypes.CDLL(None, use_errno=True)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    path = ctypes.c_char_p(os.fsencode(name))
    handle: int = library.syscall(_OPENAT2, dir_fd, path, ctypes.byref(how), size)
    if handle < 0:
        number = ctypes.get_errno() or errno.EINVAL
        raise OSError(number, os.strerror(number), name)
    return handle
