"""What a scan finds, without the secret: place, rule, length and a keyed fingerprint."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, order=True)
class Finding:
    """One secret.

    Args:
        path: relative, with `/`; what stands in an archive follows behind `!`.
        line: 1-based, as `end_line`.
        column: the byte in its line, 1-based; None where the line is too long to tell.
        length: of the secret, in bytes.
        fingerprint: HMAC-SHA-256 of the secret, cut to 128 bits; says nothing without the key.
        decoded: "base64" or "hex" where the secret was hidden in such text.
        commit: the first commit that has it, in history.
    """

    path: str
    line: int
    end_line: int
    column: int | None
    rule: str
    length: int
    fingerprint: str
    decoded: str | None = None
    commit: str | None = None

    @property
    def identity(self) -> tuple[str, str, str]:
        """What a baseline knows it by: no line, no time."""
        return (self.rule, self.path, self.fingerprint)


@dataclass(frozen=True, order=True)
class Unread:
    """Something that was to be read and was not, or not to its end."""

    path: str
    reason: str


@dataclass
class Tally:
    """What one piece of work came to; they add up."""

    findings: list[Finding] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    newlines: int = 0

    def add(self, other: Tally) -> None:
        """Take in what another piece came to."""
        self.findings += other.findings
        self.unread += other.unread
        self.counts.update(other.counts)


@dataclass(frozen=True)
class BaselineUse:
    """What a baseline did: entries that count for nothing any more are said."""

    known: int
    stale: tuple[dict[str, Any], ...]
    expired: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class ScanResult:
    """A whole scan.

    Args:
        findings: those that count, sorted.
        unread: what was not read; with one of them a scan is not complete.
        counts: files, bytes, blobs, allowed_inline, links, excluded.
    """

    findings: tuple[Finding, ...]
    unread: tuple[Unread, ...]
    counts: dict[str, int]
    engine: str
    rules_sha256: str
    key_id: str
    baseline: BaselineUse | None = None

    @property
    def verdict(self) -> str:
        """Failed with a finding; passed only if all was read, and there was something to read."""
        if self.findings:
            return "failed"
        return "inconclusive" if self.unread or not self.counts["bytes"] else "passed"

    def as_json(self) -> dict[str, Any]:
        """The document of schemas/secret_scan.schema.json."""
        baseline = asdict(self.baseline) if self.baseline else None
        if baseline is not None:
            baseline = {
                name: value if isinstance(value, int) else [*value]
                for name, value in baseline.items()
            }
        return {
            "schema": "secret_scan/1",
            "verdict": self.verdict,
            "engine": self.engine,
            "rules_sha256": self.rules_sha256,
            "key_id": self.key_id,
            "counts": self.counts,
            "findings_count": len(self.findings),
            "findings": [asdict(finding) for finding in self.findings],
            "unread": [asdict(one) for one in self.unread],
            "baseline": baseline,
        }
