"""What services write into their logs from some moment on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from security.places import NotHadError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stack.runtime import Runtime


class LogTail:
    """What services write into their logs from now on."""

    def __init__(self, runtime: Runtime, texts: Sequence[str]) -> None:
        """Note where each log ends now; without anything to look for nothing is read.

        Raises:
            NotHadError: no log can be seen.
        """
        self._texts = texts
        self._places = {}
        if texts:
            logs = {item.name: runtime.log_path(item.name) for item in runtime.services}
            known = {name: path for name, path in logs.items() if path is not None}
            if not known:
                raise NotHadError(f"no log can be seen on the runtime {runtime.name}")
            self._places = {name: (path, path.stat().st_size) for name, path in known.items()}

    def found(self) -> list[str]:
        """The services whose log holds one of the texts."""
        hit = []
        for name, (path, size) in self._places.items():
            with path.open("rb") as file:
                file.seek(size)
                text = file.read().decode("utf-8", "replace")
            if any(wanted in text for wanted in self._texts):
                hit.append(name)
        return hit
