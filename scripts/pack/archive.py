"""The tar that a packer gets: the same bytes for the same files, whatever the machine."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILE_MODE = 0o644


def make_archive(files: Mapping[str, bytes]) -> bytes:
    """An uncompressed POSIX tar of regular files: no times, owners or modes of ours in it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), _FILE_MODE
            archive.addfile(entry, io.BytesIO(data))
    return target.getvalue()
