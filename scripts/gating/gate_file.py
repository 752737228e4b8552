"""A gate is data: which scripts measure, which criteria judge, which gate it requires."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from common.cli import ConfigurationError, UsageError
from common.documents import read_yaml
from common.schema import check
from evidence.criteria import GATE_FOLDER

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from evidence.recorder import Recorder
    from stack.model import Stack
    from stack.runtime import Runtime


class Measuring(Protocol):
    """What a gate needs of a script that measures; `scripts/run_cycles.py` is one.

    `EVIDENCE` names its part of the summary (`/measured/<EVIDENCE>`) and its schema; `STEPS`
    are the steps that `measure` records.
    """

    EVIDENCE: str
    STEPS: Sequence[str]

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """The command line."""

    def reservations(self, options: argparse.Namespace, stack: Stack) -> Sequence[str]:
        """Why a run with these arguments is real, but can't count for a release (G7)."""

    def measure(self, options: argparse.Namespace, runtime: Runtime, recorder: Recorder) -> None:
        """Measure, and put the figures into `recorder.facts["measured"][EVIDENCE]`."""


@dataclass(frozen=True)
class Part:
    """One script of a gate, with its arguments in full and in a rehearsal."""

    script: str
    arguments: tuple[str, ...]
    rehearsal: tuple[str, ...]

    def load(self) -> Measuring:
        """The script as a module.

        Raises:
            ConfigurationError: there is no such script.
        """
        try:
            return cast("Measuring", importlib.import_module(self.script))
        except ModuleNotFoundError as problem:
            if problem.name != self.script:
                raise
            raise ConfigurationError(
                f"expected the script scripts/{self.script}.py of a gate, got none"
            ) from problem


@dataclass(frozen=True)
class GateFile:
    """`scripts/gates/<name>.yaml`, where it is a gate."""

    name: str
    title: str
    requires: str | None
    parts: tuple[Part, ...]

    @property
    def path(self) -> Path:
        """The file."""
        return GATE_FOLDER / f"{self.name}.yaml"


def gate_names() -> tuple[str, ...]:
    """The names of all gates, in order."""
    return tuple(sorted(path.stem for path in GATE_FOLDER.glob("gate*.yaml")))


def load_gate(name: str) -> GateFile:
    """Read a gate.

    Raises:
        UsageError: there is no such gate.
        ConfigurationError: its file breaks schemas/gate.schema.json, measures nothing,
            or requires a gate that there is not.
    """
    if name not in gate_names():
        raise UsageError(f"expected a gate ({', '.join(gate_names())}), got {name!r}")
    document = read_yaml(GATE_FOLDER / f"{name}.yaml")
    check(document, "gate")
    value = document.value
    if "measures" not in value:
        raise ConfigurationError(f"{document.path}: expected `measures` in a gate, got none")
    requires = value.get("requires")
    if requires is not None and requires not in gate_names():
        line = document.line_of(("requires",))
        known = ", ".join(gate_names())
        raise ConfigurationError(
            f"{document.path}:{line}: requires: expected a gate ({known}), got {requires!r}"
        )
    parts = tuple(
        Part(item["script"], tuple(item.get("arguments", ())), tuple(item["rehearsal"]))
        for item in value["measures"]
    )
    return GateFile(name, value["title"], requires, parts)
