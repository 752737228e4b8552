"""Findings for people, for machines, and as SARIF 2.1.0; none of them has a snippet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from secret_scan.findings import Finding, ScanResult
    from secret_scan.rules import RuleSet

FORMATS = ("text", "json", "sarif")
FINGERPRINT_NAME = "secretHmac/v1"


def rendered(result: ScanResult, form: str, rules: RuleSet) -> str:
    """A result in one of `FORMATS`."""
    if form == "json":
        return json.dumps(result.as_json(), indent=2, sort_keys=True)
    if form == "sarif":
        return json.dumps(as_sarif(result, rules), indent=2, sort_keys=True)
    return as_text(result, {rule.id: rule.description for rule in rules.rules})


def as_text(result: ScanResult, descriptions: Mapping[str, str]) -> str:
    """The verdict last, as a reader of a long list sees it."""
    lines = [_line(finding, descriptions) for finding in result.findings]
    lines += [f"unread: {one.path}: {one.reason}" for one in result.unread]
    if result.baseline is not None:
        for word in ("stale", "expired"):
            for entry in getattr(result.baseline, word):
                lines.append(
                    f"baseline: {word}: {entry['rule']} in {entry['path']}: remove or renew it"
                )
    lines.append(f"{result.verdict.upper()}: {_summary(result)}")
    return "\n".join(_printable(line) for line in lines)


def _line(finding: Finding, descriptions: Mapping[str, str]) -> str:
    column = f":{finding.column}" if finding.column else ""
    notes = [f"{finding.length} bytes", f"fingerprint {finding.fingerprint}"]
    if finding.decoded:
        notes.append(f"in {finding.decoded}")
    if finding.commit:
        notes.append(f"since commit {finding.commit[:12]}")
    what = descriptions.get(finding.rule, finding.rule)
    place = f"{finding.path}:{finding.line}{column}"
    return f"{place}: {finding.rule}: {what} ({', '.join(notes)})"


def _summary(result: ScanResult) -> str:
    counts = result.counts
    parts = [f"{len(result.findings)} findings in {counts['files']} files, {counts['bytes']} bytes"]
    words = {
        "objects": "{} objects of git history",
        "members": "{} files in archives",
        "allowed_inline": "{} allowed by a comment",
        "excluded": "{} excluded by the rules",
        "links": "{} links not followed",
        "git_object_folders": "{} git object store: read it with --history",
    }
    parts += [text.format(counts[name]) for name, text in words.items() if counts[name]]
    if result.baseline is not None:
        parts.append(f"{result.baseline.known} known by the baseline")
    if result.unread:
        parts.append(f"{len(result.unread)} NOT READ")
    if not counts["bytes"]:
        parts.append("nothing was read")
    return ", ".join(parts)


def _printable(line: str) -> str:
    # A file's name must not draw on the terminal.
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


def as_sarif(result: ScanResult, rules: RuleSet) -> dict[str, Any]:
    """A SARIF log; what was not read is a notification, and the run then no success."""
    used = {finding.rule for finding in result.findings}
    driver = {
        "name": "scan_secrets",
        "semanticVersion": "1.0.0",
        "rules": [
            {"id": rule.id, "shortDescription": {"text": rule.description}}
            for rule in rules.rules
            if rule.id in used
        ],
    }
    notes = [
        {
            "level": "error",
            "message": {"text": f"not read: {one.reason}"},
            "locations": [{"physicalLocation": {"artifactLocation": _artifact(one.path)}}],
        }
        for one in result.unread
    ]
    run = {
        "tool": {"driver": driver},
        "columnKind": "utf16CodeUnits",
        "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "the folder of the scan"}}},
        "invocations": [
            {
                "executionSuccessful": result.verdict != "inconclusive" and not result.unread,
                "toolExecutionNotifications": notes,
            }
        ],
        "results": [_result(finding) for finding in result.findings],
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }


def _artifact(path: str) -> dict[str, str]:
    return {"uri": quote(path, safe="/!@+=,"), "uriBaseId": "%SRCROOT%"}


def _result(finding: Finding) -> dict[str, Any]:
    region = {"startLine": finding.line, "endLine": finding.end_line}
    since = f", since commit {finding.commit}" if finding.commit else ""
    text = f"{finding.rule}: a secret of {finding.length} bytes{since}; the value is not shown"
    return {
        "ruleId": finding.rule,
        "level": "error",
        "message": {"text": text},
        "locations": [
            {"physicalLocation": {"artifactLocation": _artifact(finding.path), "region": region}}
        ],
        "partialFingerprints": {FINGERPRINT_NAME: _fingerprint(finding)},
    }


def _fingerprint(finding: Finding) -> str:
    import hashlib

    text = f"{finding.rule}\0{finding.path}\0{finding.fingerprint}"
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]
