"""Findings that are known: each with a reason and a day on which it stops to be known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError
from common.documents import read_yaml
from common.schema import check
from secret_scan.findings import BaselineUse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from secret_scan.findings import Finding, ScanResult


@dataclass(frozen=True)
class Entry:
    """One known finding; `identity` is rule, path and fingerprint."""

    rule: str
    path: str
    fingerprint: str
    reason: str
    expires: date

    @property
    def identity(self) -> tuple[str, str, str]:
        """What a finding has to be to be this one."""
        return (self.rule, self.path, self.fingerprint)

    def as_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {**self.__dict__, "expires": self.expires.isoformat()}


@dataclass(frozen=True)
class Baseline:
    """A baseline file; `key_id` names the key that its fingerprints were made with."""

    key_id: str
    entries: tuple[Entry, ...]


def load_baseline(path: Path) -> Baseline:
    """Read a baseline (YAML, or JSON, which is YAML).

    Raises:
        ConfigurationError: missing, or against schemas/secret_baseline.schema.json: an entry
            without reason or expiry, say.
    """
    document = read_yaml(path)
    check(document, "secret_baseline")
    value = document.value
    entries = []
    for index, item in enumerate(value["entries"]):
        try:
            expires = date.fromisoformat(item["expires"])
        except ValueError as problem:
            line = document.line_of(("entries", index, "expires"))
            raise ConfigurationError(
                f"{path}:{line}: expires: expected a day like 2026-12-31, got {item['expires']!r}"
            ) from problem
        entries.append(Entry(**{**item, "expires": expires}))
    return Baseline(value["key_id"], tuple(entries))


def apply_baseline(result: ScanResult, baseline: Baseline, today: date) -> ScanResult:
    """Take out what is known; entries that are expired or fit nothing are said.

    Raises:
        ConfigurationError: its fingerprints were made with another key, so none can fit.
    """
    if baseline.key_id != result.key_id:
        raise ConfigurationError(
            f"expected a baseline of the key {result.key_id}, got one of {baseline.key_id}: "
            "give --fingerprint-key"
        )
    found = {finding.identity for finding in result.findings}
    expired = [one for one in baseline.entries if one.expires < today]
    live = [one for one in baseline.entries if one.expires >= today]
    known = {one.identity for one in live}
    stale = [one for one in live if one.identity not in found]
    left = tuple(one for one in result.findings if one.identity not in known)
    use = BaselineUse(
        known=len(result.findings) - len(left),
        stale=tuple(one.as_json() for one in stale),
        expired=tuple(one.as_json() for one in expired),
    )
    return replace(result, findings=left, baseline=use)


def baseline_of(
    findings: Sequence[Finding], key_id: str, reason: str, expires: date
) -> dict[str, Any]:
    """A new baseline file of these findings, each once."""
    identities = sorted({finding.identity for finding in findings})
    return {
        "schema": "secret_baseline/1",
        "key_id": key_id,
        "entries": [
            Entry(rule, path, fingerprint, reason, expires).as_json()
            for rule, path, fingerprint in identities
        ],
    }
