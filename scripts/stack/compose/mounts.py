"""Where a container's mounted folders are on this machine, for whoever may look at them."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from stack.compose.containers import inspect

if TYPE_CHECKING:
    from stack.compose.engine import Engine


def mounted_at(engine: Engine, container: str, inside: str) -> str | None:
    """The path here of a path inside a container; None where that is no mount we may read.

    Args:
        engine: a connected engine.
        container: its id.
        inside: an absolute path in the container.
    """
    if not engine.endpoint.local:
        return None
    wanted = PurePosixPath(inside)
    mounts = inspect(engine, container)["Mounts"]
    for mount in sorted(mounts, key=lambda item: -len(item["Destination"])):
        if wanted.is_relative_to(mount["Destination"]):
            place = Path(mount["Source"]) / wanted.relative_to(mount["Destination"])
            try:
                folder = place if place.is_dir() else place.parent
            except OSError:  # Docker's own folder is root's
                return None
            return str(place) if os.access(folder, os.R_OK | os.X_OK) else None
    return None
