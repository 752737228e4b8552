"""Findings that do not count, each with a reason and an end; counted in every report."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from common.documents import read_yaml
from common.schema import check as check_schema
from configuration.model import FAILED, PASSED, SKIPPED, Check, Result, Row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WAIVERS_FILE = "configuration_waivers.yaml"


@dataclass(frozen=True)
class Waiver:
    """A finding that does not count until `expires`; `place` may be a pattern."""

    check: str
    place: str
    reason: str
    expires: date


def read_waivers(path: Path) -> tuple[Waiver, ...]:
    """Read a file of waivers.

    Raises:
        ConfigurationError: it is missing, or not of its schema.
    """
    document = read_yaml(path)
    check_schema(document, "configuration_waivers")
    return tuple(
        Waiver(item["check"], item["place"], item["reason"], date.fromisoformat(item["expires"]))
        for item in document.value["waivers"]
    )


def apply(
    results: Sequence[Result], waivers: Sequence[Waiver], today: date | None = None
) -> list[Result]:
    """The results with what is waived marked, and a result for the waivers themselves.

    One that is expired, names no check, or waives nothing of a check that was not skipped, is
    a finding itself.
    """
    now = today or datetime.now(UTC).date()
    valid = [waiver for waiver in waivers if waiver.expires >= now]
    used: set[Waiver] = set()
    marked = [_marked(result, valid, used) for result in results]
    if not waivers:
        return marked
    skipped = {result.check.name for result in results if result.outcome == SKIPPED}
    known = {result.check.name for result in results}
    rows = tuple(_row(waiver, now, waiver in used, skipped, known) for waiver in waivers)
    outcome = FAILED if any(row.problem for row in rows) else PASSED
    return [*marked, Result(_CHECK, outcome, rows)]


def _marked(result: Result, waivers: Sequence[Waiver], used: set[Waiver]) -> Result:
    rows = []
    for row in result.rows:
        fitting = [
            waiver
            for waiver in waivers
            if row.problem
            and waiver.check == result.check.name
            and fnmatch.fnmatchcase(row.place, waiver.place)
        ]
        used.update(fitting)
        rows.append(replace(row, waived=fitting[0].reason) if fitting else row)
    open_ = any(row.problem and not row.waived for row in rows)
    outcome = PASSED if result.outcome == FAILED and rows and not open_ else result.outcome
    return replace(result, rows=tuple(rows), outcome=outcome)


def _row(waiver: Waiver, now: date, used: bool, skipped: set[str], known: set[str]) -> Row:  # noqa: FBT001
    place = f"{waiver.check} ({waiver.place})"
    if waiver.check not in known:
        return Row(place, "there is no such check: correct or remove the waiver")
    if waiver.expires < now:
        return Row(place, f"the waiver ended on {waiver.expires}: mend what it was for")
    if not used and waiver.check not in skipped:
        return Row(place, "the waiver waives nothing: remove it")
    return Row(place)


def _rows(_subject: object) -> tuple[Row, ...]:
    """Every waiver is in force and waives something."""
    return ()


_CHECK = Check("waivers", "K1", _rows, "there is no waiver")
