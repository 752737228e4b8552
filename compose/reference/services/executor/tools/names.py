"""Which path texts may name something in the sandbox: an allow-list of plain names.

Everything else is refused before any system call sees it: traversal, absolute paths,
drive letters, other encodings, NUL, Unicode look-alikes, names that Windows gives to
devices, and names that Windows would quietly change (a trailing dot).
"""

from __future__ import annotations

import re

from services.executor.policy.denied import DeniedError

DEPTH_LIMIT = 8
PATH_LIMIT_CHARACTERS = 512
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9_-])?")
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{kind}{number}" for kind in ("com", "lpt") for number in range(10)]
)


def split_path(text: str) -> tuple[str, ...]:
    """The parts of a path relative to the sandbox folder; "." is the folder itself.

    Raises:
        DeniedError: anything but plain names separated by "/".
    """
    if text == ".":
        return ()
    if not text or len(text) > PATH_LIMIT_CHARACTERS:
        raise DeniedError("path_not_plain", f"expected 1 to {PATH_LIMIT_CHARACTERS} characters")
    parts = tuple(text.split("/"))
    if len(parts) > DEPTH_LIMIT:
        raise DeniedError("path_not_plain", f"expected at most {DEPTH_LIMIT} parts")
    for part in parts:
        _check_name(part)
    return parts


def _check_name(part: str) -> None:
    if not _NAME.fullmatch(part):
        raise DeniedError(
            "path_not_plain",
            "expected plain names inside the sandbox (letters, digits, '.', '_', '-') "
            "separated by '/'",
        )
    if part.split(".", maxsplit=1)[0].lower() in _DEVICES:
        raise DeniedError("path_not_plain", "the name belongs to a device on some systems")
