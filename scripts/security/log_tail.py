"""What services write into their logs from some moment on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from common.cli import ScriptError
from security.known_values import hits
from security.places import NotHadError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stack.log_views import LogView
    from stack.runtime import Runtime


class LogTail:
    """What services, and whatever runs beside them, write into their logs from now on."""

    def __init__(self, runtime: Runtime, texts: Sequence[str]) -> None:
        """Note where each log ends now; without anything to look for nothing is read.

        Raises:
            NotHadError: the log of a service can't be seen: what it holds nobody knows.
        """
        self._wanted = {text.encode("utf-8", "replace"): text for text in texts}
        self._views = _views(runtime) if texts else {}

    def found(self) -> list[str]:
        """The services whose log holds one of the texts.

        Raises:
            NotHadError: a log can't be read any more.
        """
        time.sleep(max((view.settle_seconds for view in self._views.values()), default=0.0))
        try:
            return [name for name, view in self._views.items() if self._holds(view)]
        except ScriptError as problem:
            raise NotHadError(str(problem)) from problem

    def _holds(self, view: LogView) -> bool:
        # Read to its end, also after a hit: only then is known that it was read whole.
        return bool({*hits(view.blocks(), self._wanted)})


def _views(runtime: Runtime) -> Mapping[str, LogView]:
    try:
        found = runtime.log_views()
    except ScriptError as problem:
        raise NotHadError(str(problem)) from problem
    known = {name: view for name, view in found.items() if view is not None}
    for item in runtime.services:
        if item.name not in known:
            raise NotHadError(f"the log of {item.name} can't be seen on the runtime {runtime.name}")
    return known
