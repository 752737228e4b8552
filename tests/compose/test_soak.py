"""The soak in containers: they are seen, measured, and one that is killed is a restart (G2)."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import run_soak
from fakes.compose import fake_values, write_compose_stack

from common.cli import Exit
from stack.compose.engine import connect

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.docker


def soak(folder: Path, seconds: int, killed: str = "") -> tuple[int, dict[str, Any]]:
    """Soak the fake system in containers, and kill one when it is asked."""
    stack, compose = fake_values()
    profile = {"service": "front", "path": "/healthz", "expect": {"status": 200}}
    stack["traffic"] = [{"name": "health", "per_second": 5, **profile}]
    path = write_compose_stack(folder, stack, compose)
    urls = {item["name"]: item["url"] for item in stack["services"]}
    done = threading.Event()
    killer = threading.Thread(target=kill_late, args=(urls.get(killed, ""), folder, done))
    killer.start()
    try:
        arguments = ["--stack", str(path), "--output-dir", str(folder / "out"), "--no-live"]
        code = run_soak.main([*arguments, "--duration", f"{seconds}s"])
    finally:
        done.set()
        killer.join()
    (summary,) = folder.glob("out/2*/evidence/gate2-summary-*.json")
    return code, json.loads(summary.read_text())["measured"]["soak"]


def kill_late(url: str, folder: Path, done: threading.Event) -> None:
    """SIGKILL the container behind a URL, two seconds after the first sample."""
    while url and not done.is_set():
        if any(path.stat().st_size > 2000 for path in folder.glob("out/soaks/*/samples-*.bin")):
            time.sleep(2)
            engine = connect(os.environ)
            published = {"publish": str(urlsplit(url).port)}
            for row in engine.api.containers(filters=published):
                engine.api.kill(row["Id"])
            engine.close()
            return
        time.sleep(0.1)


def test_containers_are_seen_and_measured(tmp_path: Path) -> None:
    code, found = soak(tmp_path, 12)
    assert code == Exit.PASSED
    assert found["detectors"]["restarts"] == 0
    for row in found["services"].values():
        assert row["memory_kind"] == "working_set"
        assert row["memory_last_bytes"] > 0
        assert row["restarts"] == 0


def test_a_container_that_is_killed_is_found(tmp_path: Path) -> None:
    code, found = soak(tmp_path, 60, killed="jobs")
    assert code == Exit.FAILED
    assert found["hard_stop"]["why"].startswith("restart: jobs")
    assert found["hard_stop"]["not_had"] == [
        "no stacks: the services of the runtime compose can't be looked into"
    ]
