"""What is soaked; a soak is only gone on with as it was begun."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cli import ConfigurationError
from soak.duration import duration_option

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Header:
    """What is soaked.

    `seconds` are real ones: an accelerated soak of 48 h has fewer.
    """

    run_id: str
    stack: str
    stack_sha256: str
    contract_sha256: str
    commit_sha: str | None
    commit_dirty: bool | None
    runtime: str
    seconds: float
    speed: float
    engine: str

    def require_same(self, wanted: Header) -> None:
        """Let nobody go on with another soak than was begun.

        Raises:
            ConfigurationError: the first difference, in the words of the command line.
        """
        for line in self.differences(wanted):
            raise ConfigurationError(
                f"--resume {self.run_id}: {line}: give the same, or start a new soak"
            )

    def differences(self, wanted: Header) -> Iterator[str]:
        """One line for each thing that another header has otherwise."""
        for option, mine, theirs in (
            ("--stack", self.stack, wanted.stack),
            ("--runtime", self.runtime, wanted.runtime),
            ("--speed", f"{self.speed:g}", f"{wanted.speed:g}"),
            ("--duration", self._duration(), wanted._duration()),
            ("--engine", self.engine, wanted.engine),
        ):
            if mine != theirs:
                yield f"{option}: this soak was begun with {mine}, you asked for {theirs}"
        for what, was, now in (
            ("stack file (SHA-256)", self.stack_sha256, wanted.stack_sha256),
            ("contract (SHA-256)", self.contract_sha256, wanted.contract_sha256),
            ("commit", self.commit_sha, wanted.commit_sha),
            ("working tree", _tree(self.commit_dirty), _tree(wanted.commit_dirty)),
        ):
            if was != now:
                yield f"the {what} of this soak was {was or 'not known'}, now {now or 'not known'}"

    def _duration(self) -> str:
        return duration_option(self.seconds * self.speed)


def _tree(dirty: bool | None) -> str:  # noqa: FBT001 - a fact of git, not a switch
    return {None: "not known", True: "with changes", False: "without changes"}[dirty]
