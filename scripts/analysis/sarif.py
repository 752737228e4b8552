"""SARIF 2.1.0 of what the tools found: one run for each, waived findings as suppressed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.findings import Finding, Report

_LEVELS = {"error": "error", "high": "error", "warning": "warning", "medium": "warning"}


def sarif(reports: Sequence[Report]) -> dict[str, Any]:
    """The log of one analysis."""
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [_run(report) for report in reports],
    }


def _run(report: Report) -> dict[str, Any]:
    results = [_result(finding) for finding in sorted(report.findings)]
    for waived in report.waived:
        suppression = {"kind": "external", "justification": waived.reason}
        results.append(_result(waived.finding) | {"suppressions": [suppression]})
    rules = sorted({result["ruleId"] for result in results})
    driver = {"name": report.tool, "version": report.version}
    invocation: dict[str, Any] = {"executionSuccessful": not report.unseen}
    if report.note:
        invocation["exitCodeDescription"] = report.note
    return {
        "tool": {"driver": {**driver, "rules": [{"id": rule} for rule in rules]}},
        "invocations": [invocation],
        "results": results,
    }


def _result(finding: Finding) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": finding.path, "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": finding.line},
    }
    return {
        "ruleId": finding.rule,
        "level": _LEVELS.get(finding.severity, "note"),
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": place}],
    }
