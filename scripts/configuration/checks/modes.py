"""File modes that the stack file asks for, on this machine and inside containers (K1)."""

from __future__ import annotations

import glob
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import ScriptError
from configuration.model import Check, Row
from stack.placeholders import fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from configuration.model import Subject
    from stack.file_modes import FileMode

_NO_MODES = "files have no modes on this system"


def file_modes(subject: Subject) -> Iterator[Row]:
    """Every file has the mode that the stack file asks for: policies 444, state 600."""
    for wanted in subject.stack.file_modes:
        if not set(wanted.runtimes or subject.runtimes) & {*subject.runtimes}:
            continue
        if not subject.posix:
            yield Row(wanted.path, unseen=_NO_MODES)
        elif wanted.service:
            yield from _in_container(subject, wanted)
        else:
            yield from _here(subject, wanted)


def _here(subject: Subject, wanted: FileMode) -> Iterator[Row]:
    if "{state}" in wanted.path and subject.state is None:
        yield Row(wanted.path, unseen="the system does not run")
        return
    path = fill(
        wanted.path,
        {"here": glob.escape(str(subject.stack.here)), "state": glob.escape(str(subject.state))},
    )
    found = sorted(glob.glob(path))  # noqa: PTH207 - an absolute pattern
    if not found:
        yield Row(wanted.path, "expected a file, got none: correct the path")
    for name in found:
        status = Path(name).lstat()
        shown = wanted.path if len(found) == 1 else f"{wanted.path} ({Path(name).name})"
        if stat.S_ISLNK(status.st_mode):
            yield Row(shown, "expected a file, got a link: what it points to has a mode of its own")
        else:
            yield Row(shown, judge(stat.S_IMODE(status.st_mode), wanted))


def _in_container(subject: Subject, wanted: FileMode) -> Iterator[Row]:
    shown = f"{wanted.service}:{wanted.path}"
    live = subject.live
    if live is None or not live.has_containers:
        yield Row(shown, unseen="the system does not run in containers now")
        return
    try:
        found = live.modes_in(wanted.service, wanted.path)
    except ScriptError as problem:
        yield Row(shown, f"{problem}: correct the path")
        return
    for name, mode in found.items():
        yield Row(shown if len(found) == 1 else f"{shown} ({name})", judge(mode, wanted))


def judge(mode: int, wanted: FileMode) -> str:
    """What is wrong with a mode; "" where nothing is."""
    limit = int(wanted.mode or wanted.at_most, 8)
    if wanted.mode and mode != limit:
        return f"expected mode {limit:03o}, got {mode:03o}: chmod {limit:03o}"
    if mode & ~limit:
        return f"expected at most mode {limit:03o}, got {mode:03o}: chmod {limit & mode:03o}"
    return ""


CHECKS = (
    Check("file-modes", "K1", file_modes, "the stack file asks for no mode here", needed=True),
)
