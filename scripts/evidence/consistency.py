"""What a summary may not say at once: one set of rules for reporting, sealing and verifying.

Source: design.md, "Verdicts"; requirements P2, P9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from common.cli import ConfigurationError
from evidence.files import shown
from evidence.judging import PASSED, RULES, VERDICTS, outcome_of

# A summary comes from JSON: `Any` stops at the checks of this module.
Summary = Mapping[str, Any]
# Sections that a run may lack.
OPTIONAL = ("containers", "golden", "images", "jobs", "latency", "persistence")


class ClaimError(ConfigurationError):
    """A summary that says too little, or contradicts itself."""


def check_consistent(summary: Summary) -> None:
    """Refuse a summary whose parts contradict each other.

    Raises:
        ClaimError: the first contradiction, or a part that is missing or of another type.
    """
    found = contradictions(summary)
    if found:
        raise ClaimError(f"the summary contradicts itself: {found[0]}")


def contradictions(summary: Summary) -> list[str]:
    """One line "part: expected X, got Y" for each place where a summary contradicts itself.

    Raises:
        ClaimError: a part that the rules need is missing or of another type.
    """
    verdict = need(summary, "verdict", str)
    if verdict not in VERDICTS:
        raise ClaimError(f"verdict: expected one of {', '.join(VERDICTS)}, got {shown(verdict)}")
    found = _criteria(summary)
    if verdict == PASSED:
        found += _against_passed(summary)
    if need(summary, "interrupted", bool) and verdict == PASSED:
        found.append("verdict 'passed': expected a complete run, got one that was interrupted")
    code = need(summary, "exit_code", int)
    if (code == 0) != (verdict == PASSED):
        wanted = "0" if verdict == PASSED else "another one than 0"
        found.append(f"verdict {verdict!r}: expected exit code {wanted}, got {shown(code)}")
    return found + _containers(summary) + _against_eligible(summary)


def _criteria(summary: Summary) -> list[str]:
    """Every criterion judged again: an outcome that its own figures don't give is refused."""
    found = []
    seen: set[str] = set()
    for row in records(summary, "criteria"):
        name, rule = str(row.get("id")), row.get("rule")
        if name in seen:
            found.append(f"criteria: expected each id once, got {shown(name)} twice")
        seen.add(name)
        if not isinstance(rule, str) or rule not in RULES:
            found.append(f"{shown(name)}: expected a rule of {', '.join(RULES)}, got {shown(rule)}")
            continue
        outcome = outcome_of(rule, row.get("observed"), row.get("expected"))
        if row.get("outcome") != outcome:
            figures = f"{rule} {shown(row.get('expected'))}, observed {shown(row.get('observed'))}"
            got = shown(row.get("outcome"))
            found.append(f"{shown(name)} ({figures}): expected the outcome {outcome!r}, got {got}")
    return found


def _containers(summary: Summary) -> list[str]:
    """Containers run images that the summary names, and add up to what it counts."""
    rows = records(summary, "containers")
    known = {row.get("id") for row in records(summary, "images")}
    found = [
        f"containers: expected {shown(row.get('service'))} to run an image of `images`, "
        f"got {shown(row.get('image_id'))}"
        for row in rows
        if row.get("image_id") not in known
    ]
    counts = need(summary, "counts", Mapping) if rows else {}
    for name, of_row in _COUNTED.items():
        total = sum(of_row(row) for row in rows)
        if rows and counts.get(name) != total:
            found.append(f"counts.{name}: expected {total}, got {shown(counts.get(name))}")
    return found


def _is_down(row: Summary) -> bool:
    if row.get("health") == "unhealthy":
        return True
    return row.get("state") != "running" and row.get("task") is not True


_COUNTED: dict[str, Callable[[Summary], int]] = {
    "containers": lambda _row: 1,
    "containers_down": _is_down,
    "container_restarts": lambda row: _whole(row.get("restarts")),
    "oom_kills": lambda row: row.get("oom_killed") is not False,
}


def _whole(value: object) -> int:
    return value if type(value) is int else 1


def _against_passed(summary: Summary) -> list[str]:
    found = []
    if not records(summary, "criteria"):
        found.append("expected criteria, got none")
    for part, key, good in (
        ("criteria", "id", (PASSED,)),
        ("steps", "name", (PASSED, "skipped")),
        ("golden", "name", (PASSED,)),
    ):
        bad = [row for row in records(summary, part) if row.get("outcome") not in good]
        found += [
            f"expected {part} that passed, got {shown(row.get(key))} {shown(row.get('outcome'))}"
            for row in bad
        ]
    if summary.get("error") is not None:
        found.append("expected no error, got one")
    return [f"verdict 'passed': {line}" for line in found]


def _against_eligible(summary: Summary) -> list[str]:
    eligible = need(summary, "eligible", Mapping)
    commit, key = need(summary, "commit", Mapping), need(summary, "key", Mapping)
    if eligible.get("value") is False:
        return []
    wanted = {
        "the verdict 'passed'": summary["verdict"] == PASSED,
        "no reason against it": not eligible.get("reasons"),
        "a key that was provided": key.get("kind") == "provided",
        "a commit": isinstance(commit.get("sha"), str),
        "a tree without changes": commit.get("dirty") is False,
    }
    return [f"eligible: expected {what}, got none" for what, holds in wanted.items() if not holds]


def need(summary: Summary, name: str, kind: type) -> Any:  # noqa: ANN401 - the JSON edge
    """A part of a summary that has to be there.

    Raises:
        ClaimError: it is missing or of another type.
    """
    value = summary.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        got = "none" if value is None else type(value).__name__
        raise ClaimError(f"summary: expected {name!r} to be a {kind.__name__}, got {got}")
    return value


def records(summary: Summary, name: str) -> list[Summary]:
    """The objects of a list in the summary; an optional list that is absent is empty.

    Raises:
        ClaimError: a required list is missing, or the value is no list of objects.
    """
    value = summary.get(name) if name in OPTIONAL else need(summary, name, Sequence)
    if value is None:
        return []
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ClaimError(f"{name}: expected a list, got {type(value).__name__}")
    if not all(isinstance(row, Mapping) for row in value):
        raise ClaimError(f"{name}: expected a list of objects, got other values in it")
    return list(value)
