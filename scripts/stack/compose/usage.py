"""What a container uses, as `docker stats` counts it: one reading, never an average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from stack.compose.engine import Engine, ask

if TYPE_CHECKING:
    from collections.abc import Mapping


NANOSECONDS = 1_000_000_000
# Memory that the kernel takes back at once; its name differs between cgroups v1 and v2.
_FILE_CACHE = ("total_inactive_file", "inactive_file")


def read_usage(engine: Engine, identity: str) -> dict[str, Any] | None:
    """One reading of a container; None where the engine gives none.

    Returns:
        `memory_bytes` without the file cache, `memory_limit_bytes` (the machine's memory where
        the container has no limit), `cpu_seconds` since its start, `processes`.
    """
    try:
        return usage_of(ask(lambda: engine.api.stats(identity, stream=False, one_shot=True)))
    except ScriptError:  # it has ended meanwhile: no reading is no figure
        return None


def usage_of(stats: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an answer of the engine says; None for a container that does not run."""
    memory = stats.get("memory_stats") or {}
    processor = (stats.get("cpu_stats") or {}).get("cpu_usage") or {}
    processes = (stats.get("pids_stats") or {}).get("current")
    figures = (memory.get("usage"), memory.get("limit"), processor.get("total_usage"), processes)
    usage, limit, nanoseconds, count = (_positive(figure) for figure in figures)
    if not (usage and limit and nanoseconds and count):
        return None
    details = memory.get("stats") or {}
    cache = next((details[name] for name in _FILE_CACHE if name in details), 0)
    return {
        "memory_bytes": max(0, usage - cache),
        "memory_limit_bytes": limit,
        "cpu_seconds": round(nanoseconds / NANOSECONDS, 3),
        "processes": count,
    }


def _positive(value: object) -> int:
    """A whole number above zero; 0 for whatever else an engine says of a container that ended."""
    return value if type(value) is int and value > 0 else 0
