"""Give up what a program must not have, then become it.

Run as `python -I -S launch.py PROFILE PROGRAM ARGUMENT...`, where PROFILE is the JSON of
`profile.Profile`. It stands between the executor and the program because code between fork
and exec (`preexec_fn`) may deadlock in a process with threads. Each part that the profile
names is done or the program doesn't start: a layer that was there when the executor
started, and isn't now, stops the call. Standard library only, and as little of it as
possible: it runs at every command.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import resource
import stat
import sys
from typing import Any

FAILED = 120  # the exit code of a program that was not started
_SET_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38
_SECCOMP_MODE_FILTER, _SET_SECCOMP = 2, 22
_RULESET_CREATE, _RULESET_ADD, _RULESET_ENTER = 444, 445, 446  # the same on every machine
_RULE_PATH_BENEATH = 1
_EXECUTE, _READ_FILE, _READ_FOLDER = 1, 4, 8
# Rights by the version of Landlock that knows them: all are refused that no rule gives.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_VERSION, _TCP = 4, 3
_SCOPE_VERSION, _SIGNALS_AND_SOCKETS = 6, 3


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def _call(name: str, *arguments: object) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    result: int = getattr(library, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _limit(name: str, value: int) -> None:
    kind = getattr(resource, name, None)
    if kind is None:
        return
    _, hard = resource.getrlimit(kind)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (allowed, allowed))


def _control(option: int, *arguments: object) -> None:
    numbers = [ctypes.c_ulong(argument) if isinstance(argument, int) else argument
               for argument in (*arguments, *(0,) * (4 - len(arguments)))]  # fmt: skip
    _call("prctl", option, *numbers)


def _restrict_files(folder: int, readable: list[str], *, network: bool) -> None:
    """Landlock: read and run what is `readable`, list the folder, and touch nothing else."""
    version = _call("syscall", _RULESET_CREATE, None, ctypes.c_size_t(0), 1)
    rights = next(_FILE_RIGHTS[known] for known in (5, 3, 2, 1) if version >= known)
    words = [rights]
    if version >= _NET_VERSION:
        words.append(0 if network else _TCP)
    if version >= _SCOPE_VERSION:
        words.append(_SIGNALS_AND_SOCKETS)
    attributes = (ctypes.c_uint64 * len(words))(*words)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    ruleset = _call("syscall", _RULESET_CREATE, ctypes.byref(attributes), size, 0)
    _add_rule(ruleset, folder, _READ_FOLDER)
    for path in readable:
        try:
            handle = os.open(path, getattr(os, "O_PATH", 0))
        except FileNotFoundError:
            continue
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        _add_rule(ruleset, handle, _EXECUTE | _READ_FILE | (_READ_FOLDER if is_folder else 0))
        os.close(handle)
    _call("syscall", _RULESET_ENTER, ruleset, 0)
    os.close(ruleset)


def _add_rule(ruleset: int, handle: int, rights: int) -> None:
    rule = _PathBeneath(rights, handle)
    _call("syscall", _RULESET_ADD, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)


def _restrict_calls(code: bytes) -> None:
    """Seccomp: from here on the kernel refuses what the filter doesn't list."""
    buffer = ctypes.create_string_buffer(code, len(code))
    filter_ = _Filter(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    _control(_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_))


def _give_up(profile: dict[str, Any]) -> None:
    """Everything that the profile names, in the order in which each can still be done."""
    os.fchdir(profile["folder"])
    if sys.platform == "linux":
        _control(_SET_DEATH_SIGNAL, 9)
    for name, value in profile["limits"].items():
        _limit(name, value)
    if profile["namespaces"]:
        _call("unshare", profile["namespaces"])
    if profile["no_new_privileges"]:
        _control(_SET_NO_NEW_PRIVILEGES, 1)
    if profile["landlock"] is not None:
        _restrict_files(profile["folder"], profile["landlock"], network=profile["network"])
    os.close(profile["folder"])
    if profile["seccomp"]:
        _restrict_calls(base64.b64decode(profile["seccomp"]))


def main(arguments: list[str]) -> None:
    """Give up, and become the program; its environment is empty unless a test says other."""
    profile, program = json.loads(arguments[0]), arguments[1]
    environment = dict(os.environ) if profile["keep_environment"] else {}
    try:
        _give_up(profile)
        os.execve(program, arguments[1:], environment)  # noqa: S606 - no shell is the point
    except OSError as problem:
        os.write(2, f"not started: {problem.strerror}\n".encode())
        os._exit(FAILED)


if __name__ == "__main__":
    main(sys.argv[1:])
