"""traffic.target and traffic.clock: where traffic goes, and by which clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fakes.system import stack_value, write_value

from stack.load import load_stack
from stack.runtime import open_runtime
from traffic import clock
from traffic.target import target_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_traffic_goes_where_the_runtime_has_the_services(
    tmp_path: Path,
) -> None:
    """P8: a stack that already runs elsewhere gets the traffic there."""
    environ = {"FAKE_JOBS_URL": "http://elsewhere:9/", "FAKE_KEY": "0123456789abcdef"}
    stack = load_stack(write_value(tmp_path, stack_value()), environ)
    target = target_of(open_runtime(stack, environ=environ))
    assert target.urls["jobs"] == "http://elsewhere:9"
    assert target.secrets == {"FAKE_KEY": "0123456789abcdef"}
    assert "0123456789abcdef" not in repr(target)


def test_the_clock_goes_on_and_the_boot_stays_the_same() -> None:
    assert clock.boottime_seconds() <= clock.boottime_seconds()
    assert clock.boot_id() == clock.boot_id() != ""


def test_without_a_boot_clock_the_monotonic_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_BOOTTIME", None)
    assert abs(clock.boottime_seconds() - time.monotonic()) < 60


def test_without_a_boot_id_the_time_of_the_boot_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_BOOT_ID", tmp_path / "none")
    assert clock.boot_id().startswith("booted-")
