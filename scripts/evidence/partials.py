"""Run folders in the making: who owns one, and removing those whose owner is dead."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import re
import shutil
from pathlib import Path

OWNER = "owner.json"
_PARTIAL = re.compile(r"\.(\d{8}-\d{6}(?:-\d+)?)\.partial")
_STAGING = re.compile(r"\.[0-9a-f]+-(\d+)-(\d+)-([0-9a-f]{8})\.staging")
_SEALING = re.compile(r"\.(\d{8}-\d{6}(?:-\d+)?)\.owner\.json")
_CLOCK_SLACK_MS = 2000


def partial_path(output: Path, run_id: str) -> Path:
    """Where the run `run_id` is built."""
    return output / f".{run_id}.partial"


def sealing_path(output: Path, run_id: str) -> Path:
    """Where the owner record waits while its folder is renamed: no moment is without one."""
    return output / f".{run_id}.owner.json"


def staging_path(output: Path, word: str) -> Path:
    """A folder that carries its owner in its name, until the owner record is inside."""
    pid, created = _me()
    return output / f".{word}-{pid}-{created}-{_host()}.staging"


def owner_record() -> str:
    """The owner record of this process, as JSON."""
    pid, created = _me()
    return json.dumps({"pid": pid, "created_ms": created, "host": _host()}) + "\n"


def sweep_partials(output_dir: Path) -> list[Path]:
    """Remove run folders in the making whose owner is dead; never a live one's.

    A record of another host is left alone, because its processes can't be seen from here.

    Returns:
        What was removed.
    """
    removed: list[Path] = []
    try:
        names = sorted(path.name for path in output_dir.iterdir())
    except OSError:
        return removed
    for name in names:
        path = output_dir / name
        if _is_dead(output_dir, name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            if not os.path.lexists(path):
                removed.append(path)
    return removed


def _is_dead(output: Path, name: str) -> bool:
    staging = _STAGING.fullmatch(name)
    if staging:
        return staging[3] == _host() and not _alive(int(staging[1]), int(staging[2]))
    partial = _PARTIAL.fullmatch(name)
    if partial:
        # Inside, or beside while it is renamed; with neither, its owner died in between.
        records = (output / name / OWNER, sealing_path(output, partial[1]))
        return not any(_owner_alive(record) for record in records)
    return _SEALING.fullmatch(name) is not None and not _owner_alive(output / name)


def _owner_alive(record: Path) -> bool:
    try:
        owner = json.loads(record.read_bytes())
        if owner["host"] != _host():
            return True
        return _alive(int(owner["pid"]), int(owner["created_ms"]))
    except (OSError, ValueError, KeyError, TypeError):
        # Records are whole from the start (staging_path), so a broken one has no owner.
        return False


@functools.cache
def _host() -> str:
    # Process ids mean something only on this host and in this pid namespace (a container's own).
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]


def _me() -> tuple[int, int]:
    import psutil

    pid = os.getpid()
    return pid, int(psutil.Process(pid).create_time() * 1000)


def _alive(pid: int, created_ms: int) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return abs(process.create_time() * 1000 - created_ms) <= _CLOCK_SLACK_MS
    except psutil.AccessDenied:
        return True
    except (psutil.Error, ValueError, OverflowError):
        return False
