"""What a soak looks like now: a table on a terminal, one line a minute elsewhere."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common import log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from rich.console import RenderableType
    from rich.live import Live

    from soak.session import Session

LINE_SECONDS = 60.0
NO_FIGURE = "-"


@dataclass(frozen=True)
class Snapshot:
    """A soak at one moment; `observed_seconds` are without the gaps before it.

    `profiles` are figures of the current minute (traffic/latency.py) with `per_second`,
    `services` rows of the last minute file; `worst` are findings that failed.
    """

    at_seconds: float
    observed_seconds: float
    asked_seconds: float
    sent: int
    planned: int
    errors: int
    ended: int
    in_flight: int
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    services: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    worst: Sequence[str] = ()
    restarts: int = 0

    @property
    def verdict(self) -> str:
        """The verdict so far: it can turn to failed at any time, to passed only at the end."""
        return f"failed: {self.worst[0]}" if self.worst else "nothing failed so far"


class View:
    """Shows snapshots on stderr; use as a context manager.

    Args:
        live: a table that renews itself; default: where stderr is a terminal.
    """

    def __init__(self, *, live: bool | None = None) -> None:
        """See the class."""
        self._wanted = sys.stderr.isatty() if live is None else live
        self._live: Live | None = None
        self._said = -LINE_SECONDS

    def __enter__(self) -> Self:
        """Take the terminal."""
        if self._wanted:
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True)
            # Renewed by `show` only: a thread of its own would cost more than the soak.
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def due(self, at_seconds: float) -> bool:
        """Whether there is anybody to show something to now; ask once a second."""
        return self._live is not None or at_seconds - self._said >= LINE_SECONDS

    def show(self, snapshot: Snapshot) -> None:
        """Show the newest state."""
        self._said = snapshot.at_seconds
        if self._live:
            self._live.update(table_of(snapshot), refresh=True)
        else:
            log.say(line_of(snapshot))

    def __exit__(self, *_: object) -> None:
        """Give the terminal back."""
        if self._live:
            self._live.stop()


def snapshot_of(session: Session, now: float) -> Snapshot:
    """What can be shown of a running session."""
    header, collector = session.folder.header, session.collector
    log_now = collector.telling_minute(now).log.profiles
    return Snapshot(
        at_seconds=now,
        observed_seconds=session.observed_seconds(now),
        asked_seconds=header.seconds,
        sent=collector.sent,
        planned=session.planned,
        errors=collector.errors,
        ended=collector.ended,
        in_flight=collector.flying,
        profiles={
            profile.name: {
                "per_second": profile.per_second * header.speed,
                **log_now[profile.name].figures(),
            }
            for profile in session.profiles
        },
        services=session.minutes.rows,
        worst=[item.detail for item in session.ending.failed],
        restarts=sum(count or 0 for count in session.judges.restarts().values()),
    )


def line_of(shot: Snapshot) -> str:
    """A snapshot in one line."""
    p95s = ", ".join(
        f"{name} p95 {row['latency']['p95_ms']:.0f} ms"
        for name, row in shot.profiles.items()
        if row.get("latency")
    )
    parts = [
        f"soak {_progress(shot)}",
        f"{shot.sent:,} of {shot.planned:,} sent, {shot.errors:,} errors",
        p95s,
        f"memory {_mebibytes(shot.services)}" if shot.services else "",
        shot.verdict,
    ]
    return "; ".join(part for part in parts if part)


def _progress(shot: Snapshot) -> str:
    """What was observed of what was asked for; a gap is not observed."""
    gap = shot.at_seconds - shot.observed_seconds
    missed = f" (not observed: {clock_of(gap)})" if gap >= 1 else ""
    return f"{clock_of(shot.observed_seconds)} of {clock_of(shot.asked_seconds)}{missed}"


def clock_of(seconds: float) -> str:
    """A time as hours:minutes:seconds."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def table_of(shot: Snapshot) -> RenderableType:
    """A snapshot as tables."""
    from rich.console import Group
    from rich.text import Text

    head = (
        f"soak {_progress(shot)}   "
        f"{shot.sent:,} of {shot.planned:,} sent   {shot.errors:,} errors"
        f"{_share(shot.errors, shot.ended)}   {shot.in_flight} in flight   {shot.restarts} restarts"
    )
    colour = "red" if shot.worst else "green"
    parts: list[RenderableType] = [Text(head), Text(shot.verdict, colour)]
    if shot.profiles:
        parts.append(_profile_table(shot.profiles))
    if shot.services:
        parts.append(_service_table(shot.services))
    return Group(*parts)


def _profile_table(profiles: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    from rich.table import Table

    table = Table("this minute", box=None, pad_edge=False)
    for name in ("rate/s", "ended", "errors", "p50 ms", "p95 ms", "p99 ms", "1st token p95"):
        table.add_column(name, justify="right")
    for name, row in profiles.items():
        latency, token = row.get("latency") or {}, row.get("first_token") or {}
        shown = [_figure(latency.get(key)) for key in ("p50_ms", "p95_ms", "p99_ms")]
        counts = [f"{row['per_second']:.2f}", f"{row['requests']}", f"{row['errors']}"]
        table.add_row(name, *counts, *shown, _figure(token.get("p95_ms")))
    return table


def _service_table(services: Mapping[str, Mapping[str, Any] | None]) -> RenderableType:
    from rich.table import Table

    table = Table("service", box=None, pad_edge=False)
    for name in ("memory MiB", "CPU %", "files", "threads", "connections"):
        table.add_column(name, justify="right")
    for name, row in services.items():
        if row is None:
            table.add_row(name, *[NO_FIGURE] * 5)
            continue
        memory, share = row["memory_bytes"], row["cpu_ratio"]
        table.add_row(
            name,
            NO_FIGURE if memory is None else f"{memory / 2**20:.1f}",
            NO_FIGURE if share is None else f"{share * 100:.1f}",
            *(_figure(row[key]) for key in ("file_descriptors", "threads", "connections")),
        )
    return table


def _figure(value: float | None) -> str:
    if value is None:
        return NO_FIGURE
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _share(errors: int, ended: int) -> str:
    return f" ({errors / ended:.2%})" if ended else ""


def _mebibytes(services: Mapping[str, Mapping[str, Any] | None]) -> str:
    known = [row["memory_bytes"] for row in services.values() if row and row["memory_bytes"]]
    return f"{sum(known) / 2**20:.0f} MiB" if known else "not seen"
