"""Run all checks and count; what they say goes through the redactor before anybody sees it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from common.cli import Exit, ScriptError
from configuration.model import FAILED, PASSED, SKIPPED, Check, Result, Row, Subject
from configuration.registry import CHECKS
from configuration.waivers import apply
from evidence.redact import SHORTEST_SECRET, Redactor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from configuration.waivers import Waiver

INCONCLUSIVE = "inconclusive"
EXITS = {PASSED: Exit.PASSED, FAILED: Exit.FAILED, INCONCLUSIVE: Exit.INCONCLUSIVE}


def run_checks(
    subject: Subject, waivers: Sequence[Waiver] = (), checks: Iterable[Check] = CHECKS
) -> list[Result]:
    """Every check on one subject, waivers applied, no value in any word."""
    redactor = Redactor(
        item.value for item in subject.secrets if len(item.value) >= SHORTEST_SECRET
    )
    results = apply([run_check(check, subject) for check in checks], waivers)
    return [_clean(result, redactor) for result in results]


def run_check(check: Check, subject: Subject) -> Result:
    """One check; what it can't read fails it, and nothing looked at is skipped."""
    try:
        rows = tuple(dict.fromkeys(check.look(subject)))
    except ScriptError as problem:
        return Result(check, FAILED, (Row(check.name, str(problem)),))
    if any(row.problem for row in rows):
        return Result(check, FAILED, rows)
    seen = [row for row in rows if not row.unseen]
    if seen:
        return Result(check, PASSED, rows)
    return Result(check, SKIPPED, rows, rows[0].unseen if rows else check.nothing)


def verdict_of(results: Sequence[Result]) -> str:
    """`passed` where nothing failed and something was looked at."""
    outcomes = {result.outcome for result in results}
    if FAILED in outcomes:
        return FAILED
    return PASSED if PASSED in outcomes else INCONCLUSIVE


def figures(results: Sequence[Result], subject: Subject) -> dict[str, Any]:
    """What configuration.schema.json says: counts, and each check with its findings."""
    outcomes = Counter(result.outcome for result in results)
    rows = [row for result in results for row in result.rows]
    needed = [result for result in results if result.check.needed]
    return {
        "runtimes": [*subject.runtimes],
        "running": subject.live is not None,
        "checks": len(results),
        **{name: outcomes[name] for name in (PASSED, FAILED, SKIPPED)},
        "needed": len(needed),
        "needed_passed": sum(result.outcome == PASSED for result in needed),
        "needed_skipped": [result.check.name for result in needed if result.outcome == SKIPPED],
        "waived": sum(bool(row.waived) for row in rows),
        "looked_at": sum(not row.unseen for row in rows),
        "unseen": sum(bool(row.unseen) for row in rows),
        "outcomes": {result.check.name: result.outcome for result in results},
        "results": [_as_json(result) for result in results],
    }


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "check": result.check.name,
        "requirement": result.check.requirement,
        "rule": result.check.rule,
        "outcome": result.outcome,
        "reason": result.reason,
        "looked_at": sum(not row.unseen for row in result.rows),
        "findings": [
            {"place": row.place, "problem": row.problem, "waived": row.waived or None}
            for row in result.problems
        ],
        "unseen": [{"place": row.place, "reason": row.unseen} for row in result.rows if row.unseen],
    }


def _clean(result: Result, redactor: Redactor) -> Result:
    rows = tuple(
        replace(
            row,
            place=redactor.text(row.place),
            problem=redactor.text(row.problem),
            unseen=redactor.text(row.unseen),
        )
        for row in result.rows
    )
    return replace(result, rows=rows, reason=redactor.text(result.reason))
