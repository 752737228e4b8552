"""The clock of long runs: it counts while the machine sleeps, and says which boot it is of."""

from __future__ import annotations

import time
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


def boottime_seconds() -> float:
    """Seconds since the boot, sleep included (Linux); elsewhere the monotonic clock."""
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


def boot_id() -> str:
    """What tells this boot from every other; elsewhere than Linux the time of the boot."""
    try:
        return _BOOT_ID.read_text("utf-8").strip()
    except OSError:
        import psutil

        return f"booted-{round(psutil.boot_time())}"
