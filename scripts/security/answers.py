"""What a system answered, kept until it was searched for secrets, and nowhere with a name (G3d)."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from secret_scan.findings import Unread

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from secret_scan.findings import ScanResult
    from security.wire import Exchange

LARGEST_BYTES = 256 << 20
_IN_MEMORY = 4 << 20


@dataclass
class _Kept:
    """The answers of one service, as members of a tar: each is judged by its own bytes."""

    file: BinaryIO
    archive: tarfile.TarFile
    count: int = 0
    dropped: int = 0


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
        self._kept: dict[str, _Kept] = {}

    def add(self, service: str, exchange: Exchange) -> None:
        """Keep what one request brought: headers, each body as it came, what else was sent."""
        heads = "".join(
            f"{name}: {value}\n" for item in exchange.answers for name, value in item.headers
        )
        bodies = [item.body for item in exchange.answers]
        with self._lock:
            for data in (heads.encode("utf-8", "replace"), *bodies, exchange.rest):
                digest = hashlib.sha256(service.encode() + b"\0" + data).digest()
                if data and digest not in self._seen:
                    self._seen.add(digest)
                    self._write(service, data)

    def _write(self, service: str, data: bytes) -> None:
        if service not in self._kept:
            spool = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - `close` does
            file = cast("BinaryIO", spool)
            archive = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
            self._kept[service] = _Kept(file, archive)
        kept = self._kept[service]
        if kept.file.tell() + len(data) > self._largest_bytes:
            kept.dropped += 1
            return
        kept.count += 1
        entry = tarfile.TarInfo(f"{kept.count}")
        entry.size = len(data)
        kept.archive.addfile(entry, io.BytesIO(data))

    def scanned(self, scan: Callable[[BinaryIO], ScanResult]) -> list[ScanResult]:
        """A scan of each service's answers; nothing is kept afterwards."""
        found = []
        for service, kept in sorted(self._kept.items()):
            name = f"answers of {service}"
            kept.archive.close()
            kept.file.seek(0)
            result = renamed(scan(kept.file), name)
            if kept.dropped:
                said = Unread(name, f"{kept.dropped} answers beyond {self._largest_bytes} bytes")
                result = replace(result, unread=(*result.unread, said))
            found.append(result)
        self.close()
        return found

    def close(self) -> None:
        """Forget everything."""
        for kept in self._kept.values():
            kept.file.close()
        self._kept, self._seen = {}, set()


def renamed(result: ScanResult, name: str) -> ScanResult:
    """The scan of a stream, which has a name of its own in reports."""
    return replace(
        result,
        findings=tuple(replace(one, path=_called(one.path, name)) for one in result.findings),
        unread=tuple(replace(one, path=_called(one.path, name)) for one in result.unread),
    )


def _called(path: str, name: str) -> str:
    return name + path.removeprefix("stdin")
