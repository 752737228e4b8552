"""The run as JUnit XML, which every CI system shows: `junit.xml` of every bundle.

Source: the schema of the Jenkins JUnit plug-in (jenkins-junit.xsd).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from evidence.consistency import check_consistent, records
from evidence.plots import MARKS, known, legible
from evidence.report import number, quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# JUnit has no "inconclusive": an error is the one of its outcomes that never counts as passed.
TAGS = {"failed": "failure", "inconclusive": "error", "skipped": "skipped"}
COUNTERS = {"failure": "failures", "error": "errors", "skipped": "skipped"}


@dataclass(frozen=True)
class Case:
    """One test case; `message` says in a line why it did not pass."""

    name: str
    outcome: str
    seconds: float
    message: str


def junit_xml(summary: Mapping[str, object]) -> bytes:
    """The run's criteria, steps and golden requests as test cases, in UTF-8.

    The last suite holds the verdict alone, so that a run which measured nothing, or
    was interrupted between two cases, is never green.

    Raises:
        ScriptError: an unknown outcome, or a verdict that its parts contradict.
    """
    check_consistent(summary)
    root = ET.Element("testsuites", name=legible(summary.get("script")))
    seen: set[str] = set()
    for name, cases in _suites(summary).items():
        if cases:
            _add_suite(root, name, [_unique(case, name, seen) for case in cases], summary)
    _add_counts(root, root.iter("testcase"))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _suites(summary: Mapping[str, Any]) -> dict[str, list[Case]]:
    criteria = [
        Case(legible(row.get("id")), _outcome(row), 0.0, criterion_line(row))
        for row in records(summary, "criteria")
    ]
    steps = [_timed(row, str(row.get("error") or "")) for row in records(summary, "steps")]
    golden = [_timed(row, "") for row in records(summary, "golden")]
    message = legible(summary.get("error") or f"the verdict is {summary['verdict']}")
    seconds = number(summary.get("duration_seconds")) or 0.0
    verdict = [Case("verdict", str(summary["verdict"]), seconds, message)]
    return {"criteria": criteria, "steps": steps, "golden": golden, "verdict": verdict}


def _unique(case: Case, suite: str, seen: set[str]) -> Case:
    # Readers of JUnit keep one case per class and name: a step must not hide a criterion.
    name = case.name
    while name in seen:
        name = f"{name} ({suite})"
    seen.add(name)
    return replace(case, name=name)


def criterion_line(row: Mapping[str, Any]) -> str:
    """One criterion as "metric: expected at most 400 ms, got 512 ms"."""
    unit = legible(row.get("unit") or "", 80)
    rule = legible(row.get("rule"), 80).replace("_", " ")
    wanted = f"{rule} {quantity(row.get('expected'))} {unit}".strip()
    got = f"{quantity(row.get('observed'))} {unit}".strip()
    if row.get("observed") is None:
        got = "not measured"
    return f"{legible(row.get('metric'), 300)}: expected {wanted}, got {got}"


def _timed(row: Mapping[str, Any], error: str) -> Case:
    outcome = _outcome(row)
    message = error or str(row.get("detail") or outcome)
    seconds = number(row.get("duration_seconds")) or 0.0
    return Case(legible(row.get("name")), outcome, seconds, legible(message))


def _outcome(row: Mapping[str, Any]) -> str:
    return known(row.get("outcome"), MARKS, "outcome")


def _add_suite(
    root: ET.Element, name: str, cases: Sequence[Case], summary: Mapping[str, Any]
) -> None:
    suite = ET.SubElement(root, "testsuite", name=name)
    # The schema's time stamp has neither a fraction nor a zone: it is UTC.
    suite.set("timestamp", legible(summary.get("started_utc"))[:19])
    properties = ET.SubElement(suite, "properties")
    for key in ("run_id", "contract_sha256", "runtime"):
        ET.SubElement(properties, "property", name=key, value=legible(summary.get(key)))
    for case in cases:
        _add_case(suite, legible(summary.get("script")), case)
    _add_counts(suite, suite.iter("testcase"))
    suite.set("time", f"{sum(case.seconds for case in cases):.3f}")


def _add_case(suite: ET.Element, classname: str, case: Case) -> None:
    element = ET.SubElement(
        suite, "testcase", classname=classname, name=case.name, time=f"{case.seconds:.3f}"
    )
    if case.outcome in TAGS:
        problem = ET.SubElement(element, TAGS[case.outcome], message=case.message)
        if case.outcome != "skipped":
            problem.set("type", case.outcome)


def _add_counts(parent: ET.Element, cases: Any) -> None:  # noqa: ANN401 - an iterator of elements
    found = list(cases)
    parent.set("tests", str(len(found)))
    for tag, counter in COUNTERS.items():
        parent.set(counter, str(sum(case.find(tag) is not None for case in found)))
