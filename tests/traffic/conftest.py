"""A fake system in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from traffic_system import FakeSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVER = Path(__file__).with_name("server.py")


@pytest.fixture
def start_system() -> Iterator[Callable[..., FakeSystem]]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> FakeSystem:
        process = subprocess.Popen(
            [sys.executable, "-S", str(SERVER), *arguments], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout
        return FakeSystem(process, f"http://127.0.0.1:{int(process.stdout.readline())}")

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def system(start_system: Callable[..., FakeSystem]) -> FakeSystem:
    return start_system()
