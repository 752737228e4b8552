"""stack.records: a project that can't be removed now is not forgotten."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from stack import records

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Unix sockets")


def dead_record(folder: Path, socket: str) -> records.Record:
    """The record of a harness that is gone, with a project in an engine."""
    record = records.new_record(folder / "stack.yaml", "compose")
    record.project, record.engine = "hb-123", {"DOCKER_HOST": f"unix://{folder}/{socket}"}
    record.harness_birth = "another"
    record.save()
    return record


def test_a_record_stays_while_its_engine_is_not_there(tmp_path: Path) -> None:
    """The engine is down when the next command comes: one warning, and other work goes on."""
    record = dead_record(tmp_path, "engine.sock")
    for _ in range(2):
        lines = [line for line in records.sweep() if "hb-123" in line]
        assert len(lines) == 1
        assert lines[0].startswith(
            "the project hb-123 may still be there: no Docker engine answers at unix://"
        )
        assert record.path.exists()


def test_the_secrets_of_a_killed_run_are_removed_even_then(tmp_path: Path) -> None:
    record = dead_record(tmp_path, "engine.sock")
    records.sweep()
    assert not os.path.lexists(record.state)


def test_a_record_of_the_version_before_is_still_read(tmp_path: Path) -> None:
    record = records.new_record(tmp_path / "stack.yaml")
    assert (record.runtime, record.project, record.engine) == ("process", "", {})
