"""Which backups to keep: a pure function of their times and the rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime


@dataclass(frozen=True)
class Keep:
    """How many to keep: the last ones, and the last one of each of so many hours, days, weeks."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0


_Period = tuple[int, ...]
_PERIODS: tuple[tuple[str, Callable[[datetime], _Period]], ...] = (
    ("hourly", lambda time: (time.toordinal(), time.hour)),
    ("daily", lambda time: (time.toordinal(),)),
    ("weekly", lambda time: tuple(time.isocalendar()[:2])),
)


def kept(times: Mapping[str, datetime], rules: Keep) -> dict[str, tuple[str, ...]]:
    """The backups to keep, each with the rules that keep it.

    The newest is kept whatever the rules say. Hours, days and weeks (ISO) are those of UTC in
    which there is a backup: a pause of the schedule costs none of them.

    Args:
        times: recovery points of good backups only, aware, by name.
        rules: how many to keep.
    """
    newest_first = sorted(times, key=lambda name: (times[name], name), reverse=True)
    why: dict[str, list[str]] = {name: ["last"] for name in newest_first[: rules.last]}
    if newest_first:
        why.setdefault(newest_first[0], []).append("newest")
    for rule, period in _PERIODS:
        seen: set[_Period] = set()
        for name in newest_first:
            now = period(times[name].astimezone(UTC))
            if now not in seen and len(seen) < getattr(rules, rule):
                seen.add(now)
                why.setdefault(name, []).append(rule)
    return {name: tuple(why[name]) for name in newest_first if name in why}
