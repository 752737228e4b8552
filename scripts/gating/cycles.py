"""Gate 1: start, ask, stop, compare, again and again; the first failure ends it (G1)."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from common.progress import Progress
from detectors.bounds import failure_rate_below
from evidence.tail import tail_lines
from stack.health import check_services
from stack.health_rounds import Check, Round, health_rounds
from stack.left_over import appeared, count_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from evidence.run_folder import RunFolder
    from stack.left_over import Inventory
    from stack.runtime import Runtime

EXECUTION_LOG = "execution_log.jsonl"
LAST_LINES = 10
SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Plan:
    """How often and how long."""

    cycles: int
    intervals: int
    interval_seconds: float


@dataclass
class Cycle:
    """What one cycle came to."""

    number: int
    start_seconds: float | None = None
    stop_seconds: float | None = None
    rounds: list[Round] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def checks(self) -> list[Check]:
        """All checks of the cycle."""
        return [check for one in self.rounds for check in one.checks]

    def as_json(self) -> dict[str, Any]:
        """The entry of the figures' `cycles`."""
        seconds = [check.seen.seconds for check in self.checks]
        late = [one.late_seconds for one in self.rounds]
        return {
            "number": self.number,
            "start_seconds": self.start_seconds,
            "stop_seconds": self.stop_seconds,
            "checks": len(seconds),
            "checks_failed": sum(len(one.failed) for one in self.rounds),
            "slowest_ms": round(max(seconds) * 1000, 3) if seconds else None,
            "latest_ms": round(max(late) * 1000, 3) if late else None,
            "left": [str(line) for line in self.left],
        }


@dataclass(frozen=True)
class Diagnosis:
    """The first failure: where it was, and what the system looked like."""

    cycle: int
    interval: int | None
    service: str | None
    problem: str
    state: str | None
    last_log_lines: Sequence[str]
    left: Sequence[str]


class Cycles:
    """All cycles of a run.

    Args:
        plan: how often and how long.
        runtime: prepared; it is stopped at the end of each cycle.
        folder: where the log of all checks goes; its redactor cleans what is said.
        note: takes (event, fields) for the trace.
    """

    def __init__(
        self, plan: Plan, runtime: Runtime, folder: RunFolder, note: Callable[..., None]
    ) -> None:
        """Only services of the system itself are asked: `support` is there to be worked on."""
        self.plan, self._runtime, self._folder, self._note = plan, runtime, folder, note
        self._asked = [item for item in runtime.services if item.role == "system"]
        self._done: list[Cycle] = []
        self._looks: list[Inventory] = []
        self._left: list[str] = []
        self._changed: set[str] | None = None
        self._completed = 0
        self._diagnosis: Diagnosis | None = None
        self.services: list[dict[str, Any]] = []

    def run(self, on_failure: Callable[[str], object] = lambda _problem: None) -> None:
        """Go through the cycles.

        Args:
            on_failure: told of the first failure at once, before anything is stopped.

        Raises:
            ScriptError: the first failure, diagnosed.
        """
        self._on_failure = on_failure
        with Progress("intervals", self.plan.cycles * self.plan.intervals) as bar:
            for number in range(1, self.plan.cycles + 1):
                cycle = Cycle(number)
                self._done.append(cycle)
                self._one(cycle, bar)
                self._completed += 1

    def _one(self, cycle: Cycle, bar: Progress) -> None:
        self._note("cycle started", cycle=cycle.number)
        before = self._look()
        try:
            self._start(cycle)
            failed = self._ask(cycle, bar)
        except ScriptError as problem:  # the runtime has stopped everything again
            self._on_failure(str(problem))
            self._stop(cycle, before)
            raise self._fail(cycle, None, str(problem)) from problem
        except BaseException:
            self._stop(cycle, before)
            raise
        if failed:
            self._on_failure(failed.problem or "")
        state = self._state_of(failed.service) if failed else None
        changed = [] if failed else self._find_changed()
        self._stop(cycle, before)
        self._note("cycle ended", **cycle.as_json())
        if changed or cycle.left:
            self._on_failure(str([*changed, *cycle.left][0]))
        if failed:
            raise self._fail(cycle, failed, failed.problem or "", state)
        if changed:
            raise self._fail(cycle, None, f"{changed[0]} is not the process that was started")
        if cycle.left:
            raise self._fail(cycle, None, cycle.left[0])

    def _look(self) -> Inventory:
        seen = self._runtime.inventory()
        self._looks.append(seen)
        return seen

    def _start(self, cycle: Cycle) -> None:
        begun = time.monotonic()
        started = self._runtime.start()
        cycle.start_seconds = round(time.monotonic() - begun, 6)
        self._identities = {**self._runtime.identities()}
        self.services = check_services(self._runtime, started)
        for row in self.services:
            if row["required"] and not row["healthy"]:
                raise ScriptError(f"{row['name']} no longer answers its checks after the start")

    def _ask(self, cycle: Cycle, bar: Progress) -> Check | None:
        """The rounds of a cycle; the first check that failed, or None."""
        done = (cycle.number - 1) * self.plan.intervals
        rounds = health_rounds(self._asked, self.plan.intervals, self.plan.interval_seconds)
        for one in rounds:
            cycle.rounds.append(one)
            bar.update(done + one.interval)
            if one.failed:
                self._note("check failed", problem=one.failed[0].problem)
                return one.failed[0]
        return None

    def _state_of(self, service: str) -> str:
        """How a service is, once an end that is just happening can be seen."""
        time.sleep(SETTLE_SECONDS)
        return self._runtime.state_of(service)

    def _find_changed(self) -> list[str]:
        now = self._runtime.identities()
        known = {name: item for name, item in self._identities.items() if item is not None}
        if not known:
            return []
        changed = [name for name, item in known.items() if now.get(name) != item]
        self._changed = (self._changed or set()) | {*changed}
        return changed

    def _stop(self, cycle: Cycle, before: Inventory) -> None:
        cycle.left += self._runtime.examine()
        begun = time.monotonic()
        cycle.left += self._runtime.stop() or ()
        cycle.stop_seconds = round(time.monotonic() - begun, 6)
        cycle.left += appeared(before, self._look())
        self._left += cycle.left
        for line in cycle.left:
            self._note("left over", cycle=cycle.number, detail=str(line))

    def _fail(
        self, cycle: Cycle, failed: Check | None, problem: str, state: str | None = None
    ) -> ScriptError:
        """The diagnosis as an error; logs are read after the stop, when they are complete."""
        names = [item.name for item in self._runtime.services]
        # At the start of the line: what it says later may be about another one.
        named = [name for name in names if problem.startswith((f"{name} ", f"{name}:"))]
        service = failed.service if failed else next(iter(named), None)
        path = self._runtime.log_path(service) if service else None
        text = tail_lines(path, LAST_LINES, self._folder.redactor) if path else ""
        self._diagnosis = Diagnosis(
            cycle.number,
            failed.interval if failed else None,
            service,
            self._folder.redactor.text(problem),
            state,
            [line for line in text.splitlines() if line.strip()],
            [str(line) for line in cycle.left],
        )
        return ScriptError(self._say(self._diagnosis))

    def _say(self, found: Diagnosis) -> str:
        where = f"cycle {found.cycle} of {self.plan.cycles}"
        if found.interval:
            where += f", interval {found.interval} of {self.plan.intervals}"
        parts = [f"{where}: {found.problem}"]
        if found.state:
            parts.append(f"state: {found.state}")
        if found.last_log_lines and found.service:
            parts.append(f"last log line of {found.service}: {found.last_log_lines[-1][:200]}")
        return "; ".join(parts)

    def summary_line(self) -> str:
        """One line for people."""
        checks = sum(len(cycle.checks) for cycle in self._done)
        return (
            f"{self._completed} cycles, {checks} checks of {len(self._asked)} services, "
            f"{len(self._left)} things left"
        )

    def left_lines(self) -> list[str]:
        """Everything that any cycle left, a line each."""
        return [str(line) for line in self._left]

    def reservations(self) -> list[str]:
        """Why the run is less than it seems: intervals that were not when they should have been."""
        limit = self.plan.interval_seconds / 2
        rounds = [one for cycle in self._done for one in cycle.rounds]
        late = sum(one.late_seconds > limit for one in rounds)
        if not late:
            return []
        return [f"accelerated: {late} of {len(rounds)} intervals began more than {limit:g} s late"]

    def bounds(self) -> list[str]:
        """What a pass says about the next time, at 95 % (field notes); empty without one."""
        checks = sum(len(cycle.checks) for cycle in self._done)
        if self._diagnosis or not checks or self._completed < self.plan.cycles:
            return []
        cycles = self._completed
        return [
            f"0 of {checks} checks failed: at 95 % fewer than {failure_rate_below(checks):.2%} do",
            f"0 of {cycles} cycles failed: at 95 % fewer than {failure_rate_below(cycles):.0%} do",
        ]

    def figures(self) -> dict[str, Any]:
        """The part `cycles` of the summary (schemas/cycles.schema.json)."""
        rounds = [one for cycle in self._done for one in cycle.rounds]
        checks = sum(len(one.checks) for one in rounds)
        planned = self.plan.cycles * self.plan.intervals * len(self._asked)
        return {
            "planned": asdict(self.plan),
            "services": [item.name for item in self._asked],
            "cycles_completed": self._completed,
            "intervals_completed": len(rounds),
            "checks": checks,
            "checks_failed": sum(len(one.failed) for one in rounds),
            "checks_missing": planned - checks,
            "services_changed": None if self._changed is None else len(self._changed),
            "left": count_kinds(self._left, self._looks),
            "bounds": self.bounds(),
            "diagnosis": asdict(self._diagnosis) if self._diagnosis else None,
            "cycles": [cycle.as_json() for cycle in self._done],
        }

    def write_log(self) -> None:
        """execution_log.jsonl: a line for each check (G8)."""
        lines = [
            json.dumps(_row(cycle.number, check)) for cycle in self._done for check in cycle.checks
        ]
        text = "".join(f"{line}\n" for line in lines)
        self._folder.write_text(EXECUTION_LOG, text)


def _row(cycle: int, check: Check) -> Mapping[str, object]:
    return {
        "cycle": cycle,
        "interval": check.interval,
        "service": check.service,
        "status": check.seen.status,
        "milliseconds": round(check.seen.seconds * 1000, 3),
        "problem": check.problem,
    }
