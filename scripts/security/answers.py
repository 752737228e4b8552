"""What a system answered, kept until it was searched for secrets, and nowhere with a name (G3d)."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from secret_scan.findings import Unread

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from secret_scan.findings import ScanResult
    from security.wire import Exchange

LARGEST_BYTES = 256 << 20
_IN_MEMORY = 4 << 20


class Answers:
    """Every different answer of each service; safe for threads.

    They stand in files without a name: nothing is left of them, however the run ends.

    Args:
        largest_bytes: what comes after so much of one service is counted as unread.
    """

    def __init__(self, largest_bytes: int = LARGEST_BYTES) -> None:
        """Nothing was heard yet."""
        self._largest_bytes = largest_bytes
        self._lock = threading.Lock()
        self._seen: set[bytes] = set()
        self._files: dict[str, BinaryIO] = {}
        self._dropped: dict[str, int] = {}

    def add(self, service: str, exchange: Exchange) -> None:
        """Keep what one request brought; nothing, where nothing came."""
        data = exchange.text.encode("utf-8", "replace")
        digest = hashlib.sha256(service.encode() + b"\0" + data).digest()
        with self._lock:
            if data and digest not in self._seen:
                self._seen.add(digest)
                self._write(service, data)

    def _write(self, service: str, data: bytes) -> None:
        if service not in self._files:
            spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - `close` does
            self._files[service] = cast("BinaryIO", spool)
        file = self._files[service]
        if file.tell() + len(data) > self._largest_bytes:
            self._dropped[service] = self._dropped.get(service, 0) + 1
            return
        file.write(data + b"\n")

    def scanned(self, scan: Callable[[BinaryIO], ScanResult]) -> list[ScanResult]:
        """A scan of each service's answers; nothing is kept afterwards."""
        found = []
        for service, file in sorted(self._files.items()):
            name = f"answers of {service}"
            file.seek(0)
            result = renamed(scan(file), name)
            if lost := self._dropped.get(service):
                said = Unread(name, f"{lost} answers beyond {self._largest_bytes} bytes")
                result = replace(result, unread=(*result.unread, said))
            found.append(result)
        self.close()
        return found

    def close(self) -> None:
        """Forget everything."""
        for file in self._files.values():
            file.close()
        self._files, self._seen, self._dropped = {}, set(), {}


def renamed(result: ScanResult, name: str) -> ScanResult:
    """The scan of a stream, which has a name of its own in reports."""
    return replace(
        result,
        findings=tuple(replace(one, path=name) for one in result.findings),
        unread=tuple(replace(one, path=name) for one in result.unread),
    )
