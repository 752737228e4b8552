"""Times of a soak as people write them: 48h, 20m, 90s, 7d."""

from __future__ import annotations

import argparse
import re

FULL_SECONDS = 48 * 3600.0
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WRITTEN = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([smhd])")


def duration(text: str) -> float:
    """An argparse type: a number with s, m, h or d, as seconds from 1 s to 366 days."""
    found = _WRITTEN.fullmatch(text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 1 <= seconds <= 366 * _UNITS["d"]:
        raise argparse.ArgumentTypeError(
            f"expected a time such as 48h, 20m, 90s or 7d, got {text!r}"
        )
    return seconds


def duration_option(seconds: float) -> str:
    """A time as it is given on the command line, in the largest whole unit: 48h, 20m, 90s."""
    return duration_text(seconds).replace(" ", "").replace("min", "m")


def duration_text(seconds: float) -> str:
    """A time in the largest unit that it is whole in: 48 h, 20 min, 90 s."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        # 48 h is how everybody says it, so days begin at three.
        if seconds >= unit * (3 if name == "d" else 1) and seconds % unit == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"
