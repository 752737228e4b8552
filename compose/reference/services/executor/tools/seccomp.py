"""Builds the filter that the kernel holds a program's calls against, from system_calls.yaml.

The program is classic BPF, as seccomp(2) takes it: eight bytes an instruction. It is made
here, once, so that the launcher only has to hand it over.
"""

from __future__ import annotations

import platform
import struct
import sys
from functools import cache
from pathlib import Path

import yaml

CALLS_FILE = Path(__file__).with_name("system_calls.yaml")
# AUDIT_ARCH_* of linux/audit.h.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS = 1, 38
_MOST_JUMPED = 255
# Which argument of a restricted call is looked at.
_ARGUMENT_OF = {"ioctl": 1, "fcntl": 1, "prlimit64": 0}


def machine() -> str | None:
    """The machine whose numbers we know, or None on any other."""
    name = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    known = sys.platform == "linux" and sys.byteorder == "little" and sys.maxsize > 2**32
    return name if known and name in _ARCHITECTURES else None


@cache
def build_filter(name: str, *, network: bool) -> bytes:
    """The filter for a machine.

    Args:
        name: what `machine` gave.
        network: whether sockets are allowed, too.

    Raises:
        ValueError: the lists are too long for one filter.
    """
    calls = yaml.safe_load(CALLS_FILE.read_text("utf-8"))
    column = calls["machines"].index(name)

    def numbers(group: str) -> dict[str, int]:
        rows = calls[group].items()
        return {call: row[column] for call, row in rows if row[column] is not None}

    allowed = list(numbers("allowed").values())
    allowed += numbers("network").values() if network else []
    code = _refuse_other_architectures(_ARCHITECTURES[name])
    code += [(_LOAD, 0, 0, _NUMBER_AT)]
    for call, number in numbers("restricted").items():
        code += _restricted(number, _ARGUMENT_OF[call], calls["restricted_values"][call])
    for number in numbers("unknown").values():
        code += [(_JUMP_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    if len(allowed) > _MOST_JUMPED:
        raise ValueError(f"expected at most {_MOST_JUMPED} allowed calls, got {len(allowed)}")
    for index, number in enumerate(allowed):
        code.append((_JUMP_EQUAL, len(allowed) - index, 0, number))
    code += [(_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _refuse_other_architectures(wanted: int) -> list[tuple[int, int, int, int]]:
    """A call by another machine's numbers would mean something else."""
    return [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_JUMP_EQUAL, 1, 0, wanted),
        (_RETURN, 0, 0, _KILL),
    ]


def _restricted(number: int, argument: int, values: list[int]) -> list[tuple[int, int, int, int]]:
    """Skip all of this unless it is the call; then one of the values, or a refusal."""
    body = [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument)]
    body += [(_JUMP_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    body += [(_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)]
    return [(_JUMP_EQUAL, 0, len(body), number), *body]
