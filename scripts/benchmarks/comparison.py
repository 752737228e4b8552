"""One comparison of ours with the floor, and how both are timed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True)
class Benchmark:
    """One comparison; `goal_ratio` or `goal_value` is the limit for the median."""

    name: str
    what: str
    unit: str
    pairs: Sequence[tuple[float, float | None]]
    goal_ratio: float | None = None
    goal_value: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The entry of benchmarks.json."""
        import statistics

        ours = [pair[0] for pair in self.pairs]
        floor = [pair[1] for pair in self.pairs if pair[1] is not None]
        ratios = [one / other for one, other in self.pairs if other]
        ratio = statistics.median(ratios) if ratios else None
        return {
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "rounds": len(self.pairs),
            "ours": figures(ours),
            "floor": figures(floor) if floor else None,
            "ratio": ratio and round(ratio, 4),
            "goal": self._goal(),
            "met": self._met(ratio, statistics.median(ours)),
        }

    def _goal(self) -> str:
        if self.goal_ratio is not None:
            return f"ratio at most {self.goal_ratio}"
        return f"below {self.goal_value} {self.unit}" if self.goal_value else "none stated"

    def _met(self, ratio: float | None, median: float) -> bool:
        if self.goal_ratio is not None:
            return ratio is not None and ratio <= self.goal_ratio
        return self.goal_value is None or median < self.goal_value


def figures(values: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    import statistics

    found = {
        "minimum": min(values),
        "median": statistics.median(values),
        "maximum": max(values),
    }
    return {name: round(value, 6) for name, value in found.items()}


def seconds(command: Sequence[str], **more: Any) -> float:  # noqa: ANN401 - passed to subprocess.run
    """Wall seconds of a whole process.

    Raises:
        ScriptError: it failed; a figure of a failed command says nothing.
    """
    import subprocess

    # As users run Python: compiled modules are kept from one run to the next.
    environment = {**os.environ, **more.pop("env", {})}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    begun = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, **more
    )
    elapsed = time.perf_counter() - begun
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no output"]
        raise ScriptError(f"{' '.join(command)[:120]} exited {done.returncode}: {last[0]}")
    return elapsed


def in_turn(
    rounds: int, ours: Callable[[], float], floor: Callable[[], float]
) -> list[tuple[float, float | None]]:
    """Ours and the floor alternately, after one round that does not count."""
    pairs = [(ours(), floor()) for _ in range(rounds + 1)]
    return [*pairs[1:]]
