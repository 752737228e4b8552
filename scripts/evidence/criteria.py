"""Criteria are data: hold an evidence file against a file of scripts/gates/."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError
from common.documents import read_yaml
from common.schema import check
from evidence.judging import FAILED, INCONCLUSIVE, PASSED, RULES, finite_number, outcome_of
from stack.runtime import runtime_names
from stack.workload import pointer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from common.documents import Document

__all__ = ["FAILED", "INCONCLUSIVE", "PASSED", "SKIPPED", "Criterion", "Judgement", "judge"]

SKIPPED = "skipped"
GATE_FOLDER = Path(__file__).resolve().parents[1] / "gates"


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


def load_criteria(
    name: str,
    runtime: str = "",
    *,
    rehearsal: bool = False,
    parts: Sequence[str] | None = None,
) -> tuple[Criterion, ...]:
    """The criteria of `scripts/gates/<name>.yaml` that can be judged on a runtime.

    A criterion with `not_for` asks what that runtime can't see; a run without it is
    not eligible for a release (recorder.py). One with `only_for` asks what there is
    nowhere else, such as containers: a run on another runtime owes it nothing. One with
    `full_run` asks for the whole length, which a rehearsal has not. Where one script of
    several measures (`parts`), what asks for the others is not judged.

    Raises:
        ConfigurationError: the file is missing or breaks schemas/gate.schema.json, or
            names a runtime that there is not.
    """
    document = read_yaml(GATE_FOLDER / f"{name}.yaml")
    check(document, "gate")
    _check_runtimes(document)
    found = []
    for item in document.value["criteria"]:
        if _is_unseen(item, runtime, rehearsal=rehearsal, parts=parts):
            continue
        if runtime and runtime not in item.get("only_for", (runtime,)):
            continue
        rule = next(rule for rule in RULES if rule in item)
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


def unseen(
    name: str, runtime: str, *, rehearsal: bool = False, parts: Sequence[str] | None = None
) -> tuple[str, ...]:
    """The ids of criteria that can't be judged in this run.

    This runtime can't see it (`not_for`), a rehearsal can't meet it, or another script measures it.
    """
    document = read_yaml(GATE_FOLDER / f"{name}.yaml")
    return tuple(
        item["id"]
        for item in document.value["criteria"]
        if _is_unseen(item, runtime, rehearsal=rehearsal, parts=parts)
    )


def _is_unseen(
    item: Mapping[str, Any], runtime: str, *, rehearsal: bool, parts: Sequence[str] | None
) -> bool:
    _, measured, part, *_ = f"{item['metric']}//".split("/")
    others = parts is not None and measured == "measured" and part not in parts
    return others or runtime in item.get("not_for", ()) or (rehearsal and "full_run" in item)


def _check_runtimes(document: Document) -> None:
    known = runtime_names()
    for index, item in enumerate(document.value["criteria"]):
        for key in ("not_for", "only_for"):
            for name in sorted({*item.get(key, ())} - known):
                line = document.line_of(("criteria", index, key))
                raise ConfigurationError(
                    f"{document.path}:{line}: criteria.{index}.{key}: expected a runtime "
                    f"({', '.join(sorted(known))}), got {name!r}"
                )


def judge(criteria: Sequence[Criterion], evidence: object) -> tuple[Judgement, ...]:
    """Judge each criterion; what was not measured is inconclusive, never passed."""
    return tuple(
        _judge_one(criterion, pointer(evidence, criterion.metric)) for criterion in criteria
    )


def _judge_one(criterion: Criterion, observed: Any) -> Judgement:  # noqa: ANN401 - the JSON edge
    outcome = outcome_of(criterion.rule, observed, criterion.expected)
    # A value that is neither text nor number goes into the evidence as the text it looks like.
    plain = observed is None or type(observed) is str or finite_number(observed)
    return Judgement(criterion, observed if plain else str(observed), outcome)


def verdict_of(judgements: Sequence[Judgement]) -> str:
    """Failed if one failed, else inconclusive if one is or there are none, else passed."""
    outcomes = {item.outcome for item in judgements}
    if FAILED in outcomes:
        return FAILED
    return PASSED if outcomes == {PASSED} else INCONCLUSIVE
