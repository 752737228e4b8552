"""The last lines of a log, redacted before they are cut so that no half of a secret stays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from evidence.files import shown

if TYPE_CHECKING:
    from pathlib import Path

    from evidence.redact import Redactor

_BLOCK_BYTES = 64 << 10
_WINDOW_BYTES = 8 << 20


def tail_lines(path: Path, lines: int, redactor: Redactor) -> str:
    """The last `lines` lines of `path`; a missing log is said, not left out.

    A block more than wanted is read and redacted: a secret of several lines may begin
    above the first line that is kept.
    """
    try:
        data, whole = _read_end(path, lines)
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        return f"[no log: {redactor.text(shown(path.name))}: {reason}]\n"
    text = data.decode("utf-8", "replace")
    if not whole:
        # The first line is cut, and may be the second half of a secret.
        text = text.partition("\n")[2] or "[one line longer than 8 MiB was left out]\n"
    kept = redactor.text(text).splitlines(keepends=True)[-lines:]
    return "".join(kept)


def _read_end(path: Path, lines: int) -> tuple[bytes, bool]:
    with path.open("rb") as stream:
        position = stream.seek(0, os.SEEK_END)
        data = b""
        enough = False
        while position > 0 and len(data) < _WINDOW_BYTES and not enough:
            enough = data.count(b"\n") > lines
            start = max(0, position - _BLOCK_BYTES)
            stream.seek(start)
            data = stream.read(position - start) + data
            position = start
    return data, position == 0
