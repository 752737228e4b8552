"""stack.compose.usage: the engine's figures as they are, and none where it has none."""

from __future__ import annotations

from typing import Any

import pytest

from stack.compose.containers import render_ps
from stack.compose.usage import usage_of

MIB = 1 << 20


def answer(**changes: Any) -> dict[str, Any]:
    """What engine 20.10 says of a running container under cgroups v1."""
    return {
        "memory_stats": {
            "usage": 40 * MIB,
            "limit": 512 * MIB,
            "stats": {"total_inactive_file": 8 * MIB},
        },
        "cpu_stats": {"cpu_usage": {"total_usage": 1_234_567_890}},
        "pids_stats": {"current": 3},
        **changes,
    }


def test_memory_is_without_the_file_cache() -> None:
    """As `docker stats` shows it."""
    found = usage_of(answer())
    assert found == {
        "memory_bytes": 32 * MIB,
        "memory_limit_bytes": 512 * MIB,
        "cpu_seconds": 1.235,
        "processes": 3,
    }
    second = {"usage": 40 * MIB, "limit": 512 * MIB, "stats": {"inactive_file": 9 * MIB}}
    assert (usage_of(answer(memory_stats=second)) or {})["memory_bytes"] == 31 * MIB


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_stats": {}},
        {"memory_stats": None},
        {"cpu_stats": {"cpu_usage": {"total_usage": 0}}},
        {"pids_stats": {}},
        {"pids_stats": {"current": "3"}},
    ],
)
def test_an_answer_without_a_figure_is_no_reading(changes: dict[str, Any]) -> None:
    """The engine answers for a container that has ended, too: with zeros or nothing."""
    assert usage_of(answer(**changes)) is None


def test_the_table_shows_a_reading_or_a_dash() -> None:
    row = {
        "name": "run-db-1", "image": "db:1", "id": "d" * 64, "state": "running",
        "health": "healthy", "restarts": 0, "oom_killed": False, "exit_code": None, "ports": [],
    }  # fmt: skip
    shown = render_ps([{**row, "usage": usage_of(answer())}, {**row, "usage": None}])
    assert "32.0 of 512 MiB  1.24 s" in shown
    assert shown.splitlines()[2].split()[-2:] == ["-", "-"]
