"""traffic.target and traffic.clock: where traffic goes, and by which clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from fakes.system import stack_value, write_value

from common.cli import ConfigurationError
from stack.load import load_stack
from stack.runtime import open_runtime
from traffic import clock
from traffic.target import check_addresses, target_of

if TYPE_CHECKING:
    from pathlib import Path


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


def test_no_traffic_leaves_for_the_address_of_another_system(tmp_path: Path) -> None:
    """P8: a service whose address was not given could be anybody's."""
    value = stack_value()
    other = {**value["services"][0], "name": "door", "url": "http://127.0.0.1:7000"}
    value["services"].append({**other, "url_env": "DOOR_URL"})
    value["runtimes"]["process"]["services"]["door"] = {"command": ["door"]}
    expect = {"status": 200}
    value["traffic"] = [
        {"name": "knock", "service": "door", "per_second": 1, "path": "/", "expect": expect}
    ]
    file = write_value(tmp_path, value)
    environ = {"FAKE_JOBS_URL": "http://elsewhere:9/", "FAKE_KEY": "0123456789abcdef"}
    with pytest.raises(ConfigurationError, match=r"address of door.*set DOOR_URL"):
        check_addresses(load_stack(file, environ))
    check_addresses(load_stack(file, environ | {"DOOR_URL": "http://elsewhere:8"}))
    check_addresses(load_stack(file, {}))  # started here: the file's addresses are its own
