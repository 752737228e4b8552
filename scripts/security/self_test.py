"""Switch each control off in turn: its cases have to get through, or they prove nothing.

Only the process runtime can: there a service is started by a command that the stack file
names, and that replaces one control from outside. No image has that program in it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cli import ConfigurationError, ScriptError
from security.judge import HEALTH, STATUS, looks_for_effects
from security.model import BYPASSED, VACUOUS, Case, CaseResult
from stack.ports import local_ports, port_is_free

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from security.model import Control, Security
    from stack.process import ProcessRuntime

PORT_SECONDS = 5.0


@dataclass(frozen=True)
class Row:
    """One control that was switched off, and what its cases did then."""

    control: str
    results: tuple[CaseResult, ...]
    error: str | None = None

    @property
    def failing(self) -> tuple[str, ...]:
        """The cases that got through, as they have to."""
        return tuple(item.case.id for item in self.results if got_through(item))

    @property
    def never_failing(self) -> tuple[str, ...]:
        """The cases that did not: what they look at, the control has no part in."""
        return tuple(item.case.id for item in self.results if not got_through(item))

    def as_json(self) -> dict[str, object]:
        """The row of the table control x case."""
        return {
            "control": self.control,
            "cases": [
                {
                    "id": item.case.id,
                    "got_through": got_through(item),
                    "outcome": item.outcome,
                    "got": item.got,
                }
                for item in self.results
            ],
            "error": self.error,
        }


def got_through(result: CaseResult) -> bool:
    """Whether an attack did what its control prevents: a status or a crash is not enough.

    Where a case looks for effects, one of them has to be seen: an answer may say 200 of a
    tool that failed. A service that does not live through an attack proves its control only
    where a case says that this is what it looks for.
    """
    kinds = {problem.kind for problem in result.problems}
    if result.outcome != BYPASSED:
        return False
    if kinds - {STATUS, HEALTH}:
        return True
    if result.case.expect.get("healthy"):
        return HEALTH in kinds
    return kinds == {STATUS} and not looks_for_effects(result.case)


def weakened_commands(
    security: Security, control: Control, names: Sequence[str]
) -> dict[str, list[str]]:
    """The command of each service in which a control is switched off.

    Raises:
        ConfigurationError: the stack file does not say how.
    """
    if not security.weakened:
        raise ConfigurationError(
            "expected security.weakened in the stack file, got none: the self-test needs it"
        )
    return {
        name: [
            part.replace("{control}", control.id).replace("{service}", name)
            for part in security.weakened
        ]
        for name in control.services or names
    }


class SelfTest:
    """Starts a system, and its services again without one control after the other."""

    def __init__(
        self,
        runtime: ProcessRuntime,
        security: Security,
        cases: Sequence[Case],
        run_cases: Callable[[Sequence[Case]], Sequence[CaseResult]],
        note: Callable[[Row], None],
    ) -> None:
        """Take a runtime of its own, prepared: its logs and state count for nothing."""
        self._runtime, self._security, self._cases = runtime, security, cases
        self._run_cases, self._note = run_cases, note

    def run(self) -> list[Row]:
        """A row for each control of the stack file.

        Raises:
            ScriptError: the system does not start, or not again.
        """
        names = [item.name for item in self._runtime.services]
        rows = []
        self._runtime.start()
        for control in self._security.controls:
            mine = [case for case in self._cases if case.control == control.id]
            row = self._one(control, mine, names)
            rows.append(row)
            self._note(row)
        return rows

    def _one(self, control: Control, cases: Sequence[Case], names: Sequence[str]) -> Row:
        if not cases:
            return Row(control.id, (), "no case is for it")
        commands = weakened_commands(self._security, control, names)
        try:
            self._exchange(commands, commands)
            return Row(control.id, tuple(self._run_cases(cases)))
        except ScriptError as problem:
            return Row(control.id, (), str(problem))
        finally:
            self._exchange(commands, {})

    def _exchange(self, names: Iterable[str], commands: Mapping[str, Sequence[str]]) -> None:
        """End these services and start them again, with these commands or their own."""
        self._runtime.programs.use_commands(commands)
        for name in names:
            self._runtime.kill(name)
            self._await_port(name)
            self._runtime.restart(name)

    def _await_port(self, name: str) -> None:
        """A child that was just being started holds its parent's port for a moment more."""
        wanted = local_ports([self._runtime.stack.service(name)]).values()
        deadline = time.monotonic() + PORT_SECONDS
        while time.monotonic() < deadline and not all(map(port_is_free, wanted)):
            time.sleep(0.05)


def figures(rows: Sequence[Row]) -> dict[str, object]:
    """The part `self_test` of the figures."""
    return {
        "controls": len(rows),
        "controls_without_failing_case": sum(not row.failing for row in rows),
        "cases": sum(len(row.results) for row in rows),
        "cases_that_never_fail": sum(len(row.never_failing) for row in rows),
        "vacuous": sum(item.outcome == VACUOUS for row in rows for item in row.results),
        "rows": [
            {
                "control": row.control,
                "cases": len(row.results),
                "failing": len(row.failing),
                "never_failing": list(row.never_failing),
                "error": row.error,
            }
            for row in rows
        ],
    }
