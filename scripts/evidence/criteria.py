"""Criteria are data: hold an evidence file against a file of scripts/gates/."""

from __future__ import annotations

import math
import operator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.documents import read_yaml
from common.schema import check
from stack.workload import pointer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PASSED, FAILED, INCONCLUSIVE, SKIPPED = "passed", "failed", "inconclusive", "skipped"
GATE_FOLDER = Path(__file__).resolve().parents[1] / "gates"
_RULES: dict[str, Callable[[Any, Any], bool]] = {
    "equals": operator.eq,
    "at_most": operator.le,
    "at_least": operator.ge,
    "below": operator.lt,
    "above": operator.gt,
}


@dataclass(frozen=True)
class Criterion:
    """One line of a gate file."""

    id: str
    metric: str
    rule: str
    expected: float | str
    unit: str
    why: str
    exit_code: int | None


@dataclass(frozen=True)
class Judgement:
    """A criterion with what was observed: passed, failed or inconclusive."""

    criterion: Criterion
    observed: float | str | None
    outcome: str

    def as_json(self) -> dict[str, Any]:
        """The entry of the summary's `criteria`."""
        values = asdict(self.criterion)
        del values["exit_code"]
        return values | {"observed": self.observed, "outcome": self.outcome}


def load_criteria(name: str) -> tuple[Criterion, ...]:
    """The criteria of `scripts/gates/<name>.yaml`.

    Raises:
        ConfigurationError: the file is missing or breaks schemas/gate.schema.json.
    """
    document = read_yaml(GATE_FOLDER / f"{name}.yaml")
    check(document, "gate")
    found = []
    for item in document.value["criteria"]:
        rule = next(rule for rule in _RULES if rule in item)
        found.append(
            Criterion(
                item["id"],
                item["metric"],
                rule,
                item[rule],
                item["unit"],
                item["why"],
                item.get("exit_code"),
            )
        )
    return tuple(found)


def judge(criteria: Sequence[Criterion], evidence: object) -> tuple[Judgement, ...]:
    """Judge each criterion; what was not measured is inconclusive, never passed."""
    return tuple(
        _judge_one(criterion, pointer(evidence, criterion.metric)) for criterion in criteria
    )


def _judge_one(criterion: Criterion, observed: Any) -> Judgement:  # noqa: ANN401 - the JSON edge
    if observed is None:
        return Judgement(criterion, None, INCONCLUSIVE)
    comparable = type(criterion.expected) is str and type(observed) is str
    number = type(observed) in {int, float} and math.isfinite(observed)
    if not comparable and not (number and type(criterion.expected) is not str):
        return Judgement(criterion, str(observed), FAILED)
    passed = _RULES[criterion.rule](observed, criterion.expected)
    return Judgement(criterion, observed, PASSED if passed else FAILED)


def verdict_of(judgements: Sequence[Judgement]) -> str:
    """Failed if one failed, else inconclusive if one is or there are none, else passed."""
    outcomes = {item.outcome for item in judgements}
    if FAILED in outcomes:
        return FAILED
    return PASSED if outcomes == {PASSED} else INCONCLUSIVE
