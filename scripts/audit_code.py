# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "jsonschema",
#     "packaging",
#     "psutil",
#     "pyyaml",
#     "requests",
# ]
# ///
"""Analyse the code with bandit, semgrep (local rules), pip-audit and pip-licenses (H7).

Writes static_analysis.json and static_analysis.sarif. The tools have a lock of their
own: `nox -s security` installs them. Exit codes: 0 passed, 1 failed, 2 inconclusive
(the vulnerability service could not be asked).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import Exit, make_parser, run
from common.options import ARTIFACTS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from analysis.findings import Report
    from evidence.criteria import Judgement

NAME = "static_analysis"
EXITS = {"passed": Exit.PASSED, "failed": Exit.FAILED, "inconclusive": Exit.INCONCLUSIVE}
EXAMPLES = (
    "nox -s security",
    "python scripts/audit_code.py --offline",
    "python scripts/audit_code.py --environment .venv/bin/python --output-dir reports",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--output-dir", type=Path, default=ARTIFACTS / "security", metavar="DIR")
    add("--offline", action="store_true", help="ask no vulnerability service: inconclusive")
    add(
        "--environment",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a virtual environment with packages of the locks, beside this one",
    )
    add("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(argv)


def measure(options: argparse.Namespace) -> list[Report]:
    """What each tool came to, one after the other."""
    from analysis.findings import ROOT, RULES
    from analysis.packages import LOCKS, audit_dependencies, list_licences
    from analysis.tools import PRODUCT, run_bandit, run_semgrep, source_files

    locks = [ROOT / name for name in LOCKS]
    pythons = [Path(sys.executable), *map(python_of, options.environment)]
    controls = {name: sorted((RULES / "controls" / name).glob("*.py")) for name in BOTH}
    steps: dict[str, Callable[[], Report]] = {
        "bandit": lambda: run_bandit(source_files(places=PRODUCT), controls["bandit"]),
        "semgrep": lambda: run_semgrep(source_files(), controls["semgrep"]),
        "pip-audit": lambda: audit_dependencies(locks, offline=options.offline),
        "pip-licenses": lambda: list_licences(pythons, locks),
    }
    reports = []
    for name, step in steps.items():
        print(f"{name} …", file=sys.stderr)
        reports.append(step())
    return reports


BOTH = ("bandit", "semgrep")


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment, which may be named itself."""
    if environment.is_file():
        return environment
    windows = environment / "Scripts/python.exe"
    return windows if windows.exists() else environment / "bin/python"


def document(reports: Sequence[Report], command: list[str]) -> dict[str, Any]:
    """The evidence: what was looked at, found and waived, and the verdict."""
    from datetime import UTC, datetime

    from analysis.findings import ROOT
    from evidence.criteria import judge, load_criteria, verdict_of
    from evidence.envelope import commit_of, host_facts, utc_text

    tools = {report.tool: report.as_json() for report in reports}
    judgements = judge(load_criteria("security"), {"tools": tools})
    return {
        "schema": f"{NAME}/1",
        "ended_utc": utc_text(datetime.now(UTC)),
        "kit_commit": commit_of(ROOT),
        "host": host_facts(),
        "command": command,
        "tools": tools,
        "criteria": [item.as_json() for item in judgements],
        "outcomes": outcomes(judgements),
        "verdict": verdict_of(judgements),
    }


def outcomes(judgements: Sequence[Judgement]) -> dict[str, str]:
    """The verdict on each tool alone; a criterion is named <tool>-<what>."""
    from evidence.criteria import verdict_of

    tools = {item.criterion.metric.split("/")[2] for item in judgements}
    return {
        tool: verdict_of(
            [item for item in judgements if f"/tools/{tool}/" in item.criterion.metric]
        )
        for tool in sorted(tools)
    }


def write(folder: Path, result: dict[str, Any], reports: Sequence[Report]) -> None:
    """Write both reports, checked against their schema first."""
    from analysis.sarif import sarif
    from common.schema import check_value

    check_value(result, NAME, f"{NAME}.json")
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in ((f"{NAME}.json", result), (f"{NAME}.sarif", sarif(reports))):
        text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def show(result: dict[str, Any]) -> None:
    """What a person reads."""
    for name, tool in result["tools"].items():
        for item in tool["findings"]:
            print(f"  {item['path']}:{item['line']}: {item['rule']}: {item['message']}")
        for item in tool["unseen"] if tool["unseen_count"] else ():
            print(f"  {item}: {name} did not look at it")
        found = "no count of" if tool["findings_count"] is None else tool["findings_count"]
        note = f" ({tool['note']})" if tool["note"] else ""
        print(
            f"{result['outcomes'][name]:12} {name} {tool['version']}: {found} findings, "
            f"{tool['waived_count']} waived, {tool['looked_at_count']} looked at{note}"
        )
    print(f"verdict: {result['verdict'].upper()}")


def main(argv: Sequence[str] | None = None) -> Exit:
    """Run the tools, write the reports, exit with the verdict."""
    options = parse(argv)
    from datetime import UTC, datetime

    from analysis.findings import apply_waivers, load_waivers
    from evidence.envelope import command_line

    waivers, today = load_waivers(), datetime.now(UTC).date()
    reports = [apply_waivers(report, waivers, today) for report in measure(options)]
    result = document(reports, command_line(None if argv is None else [*argv], __file__))
    write(options.output_dir, result, reports)
    if options.json:
        print(json.dumps(result, indent=2, sort_keys=True))
    else:
        show(result)
    return EXITS[result["verdict"]]


if __name__ == "__main__":
    run(main)
