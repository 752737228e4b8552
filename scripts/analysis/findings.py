"""What tools find, in one form: waivers are data, and planted faults have to be found."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from datetime import date
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.documents import read_yaml
from common.schema import check

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "scripts/rules"
_MARK = re.compile(r"# forbidden: (.+)$")


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that a tool objects to.

    Args:
        path: relative to the checkout; for packages, the lock or environment.
        line: 1-based; 1 where there is no line.
    """

    path: str
    line: int
    rule: str
    severity: str
    message: str


@dataclass(frozen=True)
class Waived:
    """A finding that does not count, and why."""

    finding: Finding
    reason: str


@dataclass(frozen=True)
class Report:
    """What one tool came to.

    Args:
        looked_at: the files or packages that it looked at.
        unseen: those that it had to look at and did not.
        note: why nothing was measured, where nothing was.
        optional: only a network can tell: unseen ones are inconclusive, not failed.
    """

    tool: str
    version: str
    looked_at: tuple[str, ...]
    unseen: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    waived: tuple[Waived, ...] = ()
    note: str | None = None
    optional: bool = False

    def as_json(self) -> dict[str, Any]:
        """The entry in static_analysis.json.

        No finding is 0 only if everything was looked at; else it is null, which no
        criterion passes. What has to be here, and is not, is counted in `unseen`; what
        only a network can tell (`optional`) is left open there as well.
        """
        complete = not self.unseen and bool(self.looked_at)
        count: int | None = len(self.findings)
        return {
            "version": self.version,
            "looked_at_count": len(self.looked_at),
            "looked_at": sorted(self.looked_at),
            "unseen_count": None if self.optional and not complete else len(self.unseen),
            "unseen": sorted(self.unseen),
            "findings_count": count if complete or self.findings else None,
            "findings": [asdict(item) for item in sorted(self.findings)],
            "waived_count": len(self.waived),
            "waived": [asdict(item) for item in self.waived],
            "note": self.note,
        }


@dataclass(frozen=True)
class Waiver:
    """One entry of scripts/rules/waivers.yaml."""

    tool: str
    rule: str
    paths: tuple[str, ...]
    at_most: int | None
    reason: str
    expires: date | None

    def fits(self, tool: str, finding: Finding) -> bool:
        """Whether it speaks of this finding."""
        return (self.tool, self.rule) == (tool, finding.rule) and any(
            fnmatch(finding.path, pattern) for pattern in self.paths
        )


def load_waivers(path: Path | None = None) -> tuple[Waiver, ...]:
    """The waivers.

    Raises:
        ConfigurationError: the file is missing or breaks schemas/waivers.schema.json.
    """
    document = read_yaml(path or RULES / "waivers.yaml")
    check(document, "waivers")
    return tuple(
        Waiver(
            tool=item["tool"],
            rule=item["rule"],
            paths=tuple(item["paths"]),
            at_most=item.get("at_most"),
            reason=item["reason"],
            expires=date.fromisoformat(item["expires"]) if "expires" in item else None,
        )
        for item in document.value["waivers"]
    )


def apply_waivers(report: Report, waivers: Sequence[Waiver], today: date) -> Report:
    """Take out what is waived; a waiver that is stale or waives too much is a finding itself."""
    left, waived = list(report.findings), list[Waived]()
    for waiver in waivers:
        if waiver.tool != report.tool:
            continue
        hits = [finding for finding in left if waiver.fits(report.tool, finding)]
        problem = _problem(waiver, len(hits), today)
        if problem is None:
            left = [finding for finding in left if finding not in hits]
            waived += [Waived(finding, waiver.reason) for finding in hits]
        elif report.looked_at:
            where = ", ".join(waiver.paths)
            text = f"the waiver of {waiver.rule} in {where} {problem}"
            left.append(Finding("scripts/rules/waivers.yaml", 1, "waiver", "error", text))
    return replace(report, findings=tuple(left), waived=tuple(waived))


def _problem(waiver: Waiver, hits: int, today: date) -> str | None:
    if waiver.expires is not None and waiver.expires < today:
        return f"expired on {waiver.expires}: mend the code, or renew it with a reason"
    if hits == 0:
        return "waives nothing: remove it"
    if waiver.at_most is not None and hits > waiver.at_most:
        return f"waives at most {waiver.at_most}, got {hits}: look at the new ones"
    return None


def check_controls(report: Report, controls: Iterable[Path], root: Path = ROOT) -> Report:
    """Hold a report against files with planted faults: each marked line has to be found.

    A line of a control file that ends in `# forbidden: RULE …` must give these findings, and
    no other line any. A tool that does not find what was planted has not looked.
    """
    planted, names = set(), set()
    for path in controls:
        name = path.relative_to(root).as_posix()
        names.add(name)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            mark = _MARK.search(line)
            planted |= {(name, number, rule) for rule in (mark[1].split() if mark else ())}
    found = {(one.path, one.line, one.rule) for one in report.findings if one.path in names}
    real = [one for one in report.findings if one.path not in names]
    for name, number, rule in sorted(planted - found):
        text = f"expected {rule} to find the planted fault, got nothing: the rule is broken"
        real.append(Finding(name, number, "control", "error", text))
    for name, number, rule in sorted(found - planted):
        text = f"expected {rule} to accept this line, got a finding: the rule is too wide"
        real.append(Finding(name, number, "control", "error", text))
    if not planted:
        real.append(Finding("scripts/rules/controls", 1, "control", "error", "no planted fault"))
    return replace(
        report,
        findings=tuple(real),
        looked_at=tuple(name for name in report.looked_at if name not in names),
    )
