"""What a summary claims, read strictly: the same reading for the one who seals and who verifies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.documents import parse_json
from evidence.consistency import ClaimError, check_consistent
from evidence.container_claims import container_lies, figure_lies
from evidence.files import shown
from evidence.judging import VERDICTS, finite_number

RUN_ID = re.compile(r"\d{8}-\d{6}(?:-[1-9]\d{0,3})?")
_KIND = re.compile(r"self-signed|provided")
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
_HEX64 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")


@dataclass(frozen=True)
class Claims:
    """The part of a summary that signature, attestation and verifier rest on."""

    run_id: str
    verdict: str
    exit_code: int
    started_utc: str
    ended_utc: str
    eligible: bool
    reasons: tuple[str, ...]
    commit: str | None
    dirty: bool | None
    contract_sha256: str | None
    stack_name: str | None
    stack_sha256: str | None
    passed: tuple[str, ...]
    not_passed: tuple[str, ...]
    trace_head: str
    trace_count: int
    keyid: str
    key_kind: str
    images: tuple[tuple[str, str], ...] = ()

    @property
    def ended(self) -> datetime:
        """When the run ended."""
        return parse_utc(self.ended_utc)

    @property
    def clean_commit(self) -> str | None:
        """The commit, where the tree is known to be exactly that commit."""
        return self.commit if self.dirty is False else None

    @property
    def headline(self) -> str:
        """Verdict and eligibility in one line."""
        if self.eligible and self.verdict == "passed":
            return f"{self.verdict.upper()}, eligible for a release"
        reasons = "; ".join(self.reasons) or f"the verdict is {self.verdict}"
        return f"{self.verdict.upper()}, NOT eligible for a release ({reasons})"


def parse_utc(text: str) -> datetime:
    """A time in RFC 3339 with Z."""
    return datetime.fromisoformat(text)


def read_claims(summary: object) -> Claims:
    """The claims of a summary document.

    Raises:
        ClaimError: a key is missing or of another type, or the summary contradicts itself
            (evidence.consistency).
    """
    document = _mapping(summary, "summary")
    eligible = _mapping(document.get("eligible"), "eligible")
    commit = _mapping(document.get("commit") or {}, "commit")
    stack = _mapping(document.get("stack") or {}, "stack")
    trace = _mapping(document.get("trace"), "trace")
    key = _mapping(document.get("key"), "key")
    passed, not_passed = _criteria(document.get("criteria"))
    stack_file = _optional(stack, "file", str)
    claims = Claims(
        run_id=_text(document, "run_id", RUN_ID),
        verdict=_verdict(document.get("verdict"), "verdict"),
        exit_code=_typed(document, "exit_code", int),
        started_utc=_time(document, "started_utc"),
        ended_utc=_time(document, "ended_utc"),
        eligible=_typed(eligible, "value", bool),
        reasons=tuple(str(reason) for reason in _typed(eligible, "reasons", list)),
        commit=_text(commit, "sha", _COMMIT) if commit.get("sha") is not None else None,
        dirty=_optional(commit, "dirty", bool),
        contract_sha256=_digest(document, "contract_sha256"),
        stack_name=re.split(r"[/\\]", stack_file)[-1] if stack_file else None,
        stack_sha256=_digest(stack, "sha256"),
        passed=passed,
        not_passed=not_passed,
        trace_head=_text(trace, "head", _HEX64),
        trace_count=_count(trace),
        keyid=_text(key, "keyid", _HEX64),
        key_kind=_text(key, "kind", _KIND),
        images=_images(document.get("images", [])),
    )
    check_consistent(document)
    for line in container_lies(document) + figure_lies(document):
        raise ClaimError(f"the summary contradicts itself: {line}")
    if parse_utc(claims.started_utc) > claims.ended:
        raise ClaimError(
            f"ended_utc: expected {claims.started_utc} or later, got {claims.ended_utc}"
        )
    return claims


def check_last_event(trace: bytes, claims: Claims) -> None:
    """Hold the last line of a whole trace against the summary: it is the verdict.

    Raises:
        ClaimError: another event, verdict or exit code.
    """
    line = trace[trace.rfind(b"\n", 0, len(trace) - 1) + 1 :]
    last = _mapping(parse_json(line, "last line"), "last line")
    expected = ("verdict", claims.verdict, claims.exit_code)
    got = tuple(last.get(name) for name in ("event", "verdict", "exit_code"))
    if got != expected or type(got[2]) is not int:
        raise ClaimError(f"last line: expected the event {shown(expected)}, got {shown(got)}")


def _criteria(value: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not isinstance(value, list):
        raise ClaimError(f"criteria: expected a list, got {shown(value)}")
    outcomes = []
    for number, item in enumerate(value):
        criterion = _mapping(item, f"criteria[{number}]")
        outcome = _verdict(criterion.get("outcome"), f"criteria[{number}].outcome")
        outcomes.append((str(criterion.get("id")), outcome == "passed"))
    return tuple(name for name, ok in outcomes if ok), tuple(
        name for name, ok in outcomes if not ok
    )


def _images(value: object) -> tuple[tuple[str, str], ...]:
    """Reference and SHA-256 of each image, sorted."""
    if not isinstance(value, list):
        raise ClaimError(f"images: expected a list, got {shown(value)}")
    rows = [_mapping(item, f"images[{number}]") for number, item in enumerate(value)]
    named = {
        (_typed(row, "reference", str), _text(row, "id", _IMAGE_ID).removeprefix("sha256:"))
        for row in rows
    }
    return tuple(sorted(named))


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ClaimError(f"{name}: expected an object, got {shown(value)}")
    return value


def _typed(document: Mapping[str, Any], key: str, kind: type) -> Any:  # noqa: ANN401 - the JSON edge
    value = document.get(key)
    if type(value) is not kind:
        raise ClaimError(f"{key}: expected {kind.__name__}, got {shown(value)}")
    return value


def _optional(document: Mapping[str, Any], key: str, kind: type) -> Any:  # noqa: ANN401 - the JSON edge
    return None if document.get(key) is None else _typed(document, key, kind)


def _text(document: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = document.get(key)
    if not isinstance(value, str) or pattern.fullmatch(value) is None:
        raise ClaimError(f"{key}: expected a text like {pattern.pattern}, got {shown(value)}")
    return value


def _digest(document: Mapping[str, Any], key: str) -> str | None:
    return None if document.get(key) is None else _text(document, key, _HEX64)


def _count(trace: Mapping[str, Any]) -> int:
    value = trace.get("count")
    # 2.0 is what some JSON writers make of 2.
    if not isinstance(value, int | float) or not finite_number(value):
        raise ClaimError(f"trace count: expected a number, got {shown(value)}")
    if value < 1 or value != int(value):
        raise ClaimError(f"trace count: expected 1 or more, got {shown(value)}")
    return int(value)


def _time(document: Mapping[str, Any], key: str) -> str:
    text = _text(document, key, _UTC)
    try:
        parse_utc(text)
    except ValueError as problem:
        raise ClaimError(f"{key}: expected a time, got {shown(text)}") from problem
    return text


def _verdict(value: object, name: str) -> str:
    if value not in VERDICTS:
        raise ClaimError(f"{name}: expected one of {', '.join(VERDICTS)}, got {shown(value)}")
    return str(value)
