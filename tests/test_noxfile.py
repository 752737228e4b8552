"""noxfile.py: what a gate's session installs; nox itself is no part of it."""

from __future__ import annotations

import runpy
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = Path(__file__).resolve().parents[1] / "noxfile.py"


class Noted:
    """Stands for nox.Session: writes down what is installed and run."""

    def __init__(self, *posargs: str) -> None:
        self.posargs = [*posargs]
        self.env: dict[str, str] = {}
        self.installed: list[str] = []
        self.ran: list[str] = []

    def install(self, *words: str) -> None:
        """Note it."""
        self.installed += words

    def run(self, *words: str, **_options: Any) -> None:
        """Note it."""
        self.ran += words


def sessions(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[Noted], None]]:
    """Every session of the file by name; what collects them stands for nox."""
    found: dict[str, Callable[[Noted], None]] = {}

    def session(function: Any = None, **options: Any) -> Any:
        if function is None:
            return lambda named: found.setdefault(options.get("name", named.__name__), named)
        return found.setdefault(function.__name__, function)

    project = SimpleNamespace(
        load_toml=lambda path: tomllib.loads(path.read_text("utf-8")),
        dependency_groups=lambda value, *names: [
            item for name in names for item in value["dependency-groups"][name]
        ],
    )
    nox = SimpleNamespace(session=session, project=project, options=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "nox", nox)
    runpy.run_path(str(FILE))
    return found


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("--rehearse", "--", "--engine", "locust"), True),
        (("--rehearse", "--", "--engine=locust"), True),
        (("--rehearse", "--", "--engine", "aiohttp"), False),
        ((), False),
    ],
)
def test_a_gate_installs_locust_where_its_arguments_ask_for_it(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], *, wanted: bool
) -> None:
    session = Noted(*words)
    sessions(monkeypatch)["gate2"](session)
    names = {word.partition(">")[0] for word in session.installed}
    assert "aiohttp" in names
    assert ("locust" in names) is wanted
    assert session.ran[2:] == ["gate2", *words]


def test_a_worker_always_has_locust(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Noted()
    sessions(monkeypatch)["locust-worker"](session)
    assert any(word.startswith("locust") for word in session.installed)
