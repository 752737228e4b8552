"""The five places in which no secret may stand, and what a scan of them came to (G3d, H4).

Answers and logs are scanned by the script that made them, while they are there; the rest by
`check_secrets.py`. What one script has looked at reaches the next as `recorder.shared`.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from common.cli import UsageError
from gating.git import checkout_files
from secret_scan.baseline import apply_baseline, load_baseline
from secret_scan.findings import Unread
from secret_scan.history import repository_of
from secret_scan.rules import load_rules
from secret_scan.scan import scan
from security.answers import renamed
from security.known_values import is_cut

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from evidence.recorder import Recorder
    from secret_scan.findings import ScanResult
    from secret_scan.rules import RuleSet
    from security.answers import Answers
    from stack.model import Stack
    from stack.runtime import Runtime

CHECKOUT, HISTORY, LOGS, ANSWERS, EVIDENCE = "checkout", "history", "logs", "answers", "evidence"
PLACES = (CHECKOUT, HISTORY, LOGS, ANSWERS, EVIDENCE)
# What the system said and we wrote has no comments of ours and no paths of the checkout: an
# allowance there is somebody else's.
_OUTSIDE = (LOGS, ANSWERS, EVIDENCE)
_SHARED = "secret places"
_UNSEEN = "its log can't be seen"
_TRIES = 3
_COUNTS = ("files", "objects", "bytes", "allowed_inline", "excluded")


@dataclass(frozen=True)
class Looked:
    """One scan: the place, which script's run it belongs to, what came of it."""

    place: str
    of: str
    result: ScanResult

    def as_json(self) -> dict[str, Any]:
        """The row of secrets_results.json."""
        return {"place": self.place, "of": self.of, "result": self.result.as_json()}


def rules_of(stack: Stack) -> RuleSet:
    """The rules that the stack file names, else our own.

    Raises:
        ConfigurationError: the file is missing or broken.
    """
    name = stack.security.secret_rules if stack.security else None
    return load_rules(stack.here / name if name else None)


def looked_at(recorder: Recorder) -> list[Looked]:
    """Everything that was looked at in this run so far."""
    found: list[Looked] = recorder.shared.setdefault(_SHARED, [])
    return found


def look_at_answers(recorder: Recorder, stack: Stack, of: str, answers: Answers) -> list[Looked]:
    """Scan what the system answered to a script."""
    rules = rules_of(stack)

    def scanned(stream: BinaryIO) -> ScanResult:
        return scan([], stdin=stream, rules=rules, inline_allow=False)

    return _kept(recorder, [Looked(ANSWERS, of, item) for item in answers.scanned(scanned)])


def look_at_logs(recorder: Recorder, runtime: Runtime, of: str) -> list[Looked]:
    """Scan the whole logs of everything that ran; a log that can't be seen is unread."""
    logs: dict[str, Path | None] = {
        item.name: runtime.log_path(item.name) for item in runtime.services
    }
    logs |= runtime.more_logs()
    paths = [path for path in logs.values() if path is not None]
    if not paths:
        return []
    result = scan(paths, rules=rules_of(runtime.stack), inline_allow=False)
    hidden = [Unread(name, _UNSEEN) for name, path in logs.items() if path is None or is_cut(path)]
    result = replace(result, unread=(*result.unread, *hidden))
    return _kept(recorder, [Looked(LOGS, of, result)])


def look_at_checkout(recorder: Recorder, stack: Stack) -> list[Looked]:
    """Scan all files that git has or would take; without git, the stack file's folder."""
    rules = rules_of(stack)
    for tries_left in reversed(range(_TRIES)):
        base, files = checkout_files(stack.here) or (stack.here, [stack.here])
        try:
            result = _less_known(stack, scan(files, base=base, rules=rules))
            break
        except UsageError:  # a file went away since git listed it: an editor's, perhaps
            if not tries_left:
                raise
    return _kept(recorder, [Looked(CHECKOUT, "", result)])


def look_at_history(recorder: Recorder, stack: Stack) -> list[Looked]:
    """Scan every object of the repository; nothing is looked at where there is none."""
    if repository_of(stack.here) is None:
        return []
    base = (checkout_files(stack.here) or (stack.here, []))[0]
    result = scan([stack.file], history=True, base=base, rules=rules_of(stack))
    return _kept(recorder, [Looked(HISTORY, "", _less_known(stack, result))])


def look_at_evidence(recorder: Recorder, stack: Stack) -> list[Looked]:
    """Scan what is written of this run so far, and what its summary says so far."""
    rules, folder = rules_of(stack), recorder.folder.evidence
    said = json.dumps({**recorder.envelope, **recorder.facts}, indent=1, default=str).encode()
    summary = renamed(
        scan([], stdin=io.BytesIO(said), rules=rules, inline_allow=False), "the summary so far"
    )
    found = [Looked(EVIDENCE, "", renamed(summary, "the summary so far"))]
    if any(folder.iterdir()):
        found.append(Looked(EVIDENCE, "", scan([folder], rules=rules, inline_allow=False)))
    return _kept(recorder, found)


def _less_known(stack: Stack, result: ScanResult) -> ScanResult:
    name = stack.security.secret_baseline if stack.security else None
    if name is None:
        return result
    return apply_baseline(result, load_baseline(stack.here / name), datetime.now(UTC).date())


def _kept(recorder: Recorder, found: list[Looked]) -> list[Looked]:
    looked_at(recorder).extend(found)
    return found


def first_finding(found: Iterable[Looked]) -> str | None:
    """Where the first secret stands; None where there is none."""
    for item in found:
        for one in item.result.findings:
            return f"{item.place}: {one.path}:{one.line}: {one.rule}"
    return None


def allowed(found: Iterable[Looked]) -> int:
    """How many secrets somebody has allowed: each is a waiver, and counts for no release."""
    results = [item.result for item in found]
    known = sum(item.baseline.known for item in results if item.baseline)
    return known + sum(item.counts["allowed_inline"] for item in results)


def figures(found: Sequence[Looked]) -> dict[str, Any]:
    """The counts of the summary (schemas/secrets.schema.json).

    `not_read` counts the places of which nothing, or not all, was read; it is None where there
    was nothing to look at, such as no repository: then nobody knows.
    """
    by_name = {name: [item for item in found if item.place == name] for name in PLACES}
    places = {name: _place(name, items) for name, items in by_name.items()}
    complete = all(by_name.values())
    return {
        "places": places,
        "not_read": sum(not row["read"] for row in places.values()) if complete else None,
        "found": sum(row["found"] for row in places.values()),
        "engines": sorted({item.result.engine for item in found}),
        "rules_sha256": sorted({item.result.rules_sha256 for item in found}),
        "findings": [row for name in PLACES for row in _rows(name, found, places[name])],
    }


def _place(name: str, found: Sequence[Looked]) -> dict[str, Any]:
    counts = Counter[str]()
    for item in found:
        counts.update({name: item.result.counts[name] for name in _COUNTS})
    unread = sum(len(item.result.unread) for item in found)
    whole = not unread and not (name in _OUTSIDE and counts["excluded"])
    return {
        "read": bool(found) and whole and all(item.result.counts["bytes"] for item in found),
        "found": sum(len(item.result.findings) for item in found),
        "unread": unread,
        "known": sum(item.result.baseline.known for item in found if item.result.baseline),
        **{name: counts[name] for name in _COUNTS},
    }


def _rows(name: str, found: Sequence[Looked], place: dict[str, Any]) -> list[dict[str, str]]:
    """For report.html: each place, and below it each finding and what was not read."""
    outcome = "failed" if place["found"] else "passed" if place["read"] else "inconclusive"
    said = f"{place['found']} secrets in {place['bytes']} bytes"
    if waived := place["known"] + place["allowed_inline"]:
        said += f", {waived} more are allowed by comments or known"
    rows = [{"detector": "secrets", "subject": name, "outcome": outcome, "detail": said}]
    for item in (item for item in found if item.place == name):
        there = item.result
        rows += [_row(name, f"{one.path}:{one.line}", "failed", one.rule) for one in there.findings]
        rows += [
            _row(name, one.path, "inconclusive", f"not read: {one.reason}") for one in there.unread
        ]
    return rows


def _row(place: str, subject: str, outcome: str, detail: str) -> dict[str, str]:
    return {
        "detector": f"secrets in {place}",
        "subject": subject,
        "outcome": outcome,
        "detail": detail,
    }
