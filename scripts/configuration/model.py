"""A declared check: what it is called, what it looks at, and its three outcomes.

A check yields a row for each thing that it looked at. One that looked at nothing has not
passed: it is skipped, and says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from configuration.compose_file import ComposeFile
    from configuration.env_files import EnvFile
    from configuration.live import Live
    from configuration.settings import Setting
    from stack.model import Stack

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Row:
    """One thing that was looked at, by its place; never by its value.

    `problem` is "what is wrong: what to do", "" where nothing is. `unseen` says why it could
    not be looked at.
    """

    place: str
    problem: str = ""
    unseen: str = ""
    waived: str = ""


@dataclass(frozen=True)
class Check:
    """A check of one rule.

    Args:
        name: what waivers and gates call it.
        requirement: the requirement's id.
        look: yields the rows; its docstring is the rule.
        nothing: why it is skipped where it yields none.
        needed: a running system has something for it to look at: skipped is no answer there.
    """

    name: str
    requirement: str
    look: Callable[[Subject], Iterable[Row]]
    nothing: str
    needed: bool = False

    @property
    def rule(self) -> str:
        """The rule in one line."""
        return (self.look.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True)
class Result:
    """What a check has found; `reason` says why it was skipped."""

    check: Check
    outcome: str
    rows: tuple[Row, ...] = ()
    reason: str = ""

    @property
    def problems(self) -> tuple[Row, ...]:
        """The findings, also those that a waiver covers."""
        return tuple(row for row in self.rows if row.problem)


@dataclass(frozen=True)
class Subject:
    """What the checks look at; tests hand in broken ones.

    Args:
        stack: the stack file, loaded without the variables that it requires.
        runtimes: which of its runtimes are meant.
        environ: the variables of the user, with those of the env files below them.
        env_files: those that were named, and those that a Compose file takes in.
        settings: every variable that a service is told, and every secret.
        compose: the Compose file as it is written; None where no runtime has one.
        files: configuration files that the stack names.
        state: a state folder to look into.
        live: the system, where it runs.
        posix: whether files have owners and modes here.
    """

    stack: Stack = field(repr=False)
    runtimes: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    env_files: tuple[EnvFile, ...] = ()
    settings: tuple[Setting, ...] = ()
    compose: ComposeFile | None = None
    files: tuple[Path, ...] = ()
    broken_urls: Mapping[str, str] = field(default_factory=dict)
    state: Path | None = None
    live: Live | None = None
    posix: bool = True

    @property
    def secrets(self) -> tuple[Setting, ...]:
        """The settings that are secrets and have a value."""
        return tuple(item for item in self.settings if item.secret and item.value)

    def place_of(self, path: Path) -> str:
        """A path as evidence may name it: from the stack file's folder where it is below it."""
        here = self.stack.here
        return path.relative_to(here).as_posix() if path.is_relative_to(here) else str(path)
