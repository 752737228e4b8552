# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "jsonschema",
#     "psutil",
#     "pyyaml",
#     "requests",
# ]
# ///
"""Change the modules that judge and verify, one place at a time: do the tests notice? (H8).

Writes mutants.json. mutmut and the tests' packages are needed: `nox -s mutation` installs
them. Exit codes: 0 passed, 1 failed, 2 inconclusive (a module was not tried).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import Exit, make_parser, positive_int, run
from common.options import ARTIFACTS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from analysis.mutants import Plan

NAME = "mutants"
EXITS = {"passed": Exit.PASSED, "failed": Exit.FAILED, "inconclusive": Exit.INCONCLUSIVE}
EXAMPLES = (
    "nox -s mutation",
    "nox -s mutation -- --only evidence/criteria.py --workers 4",
    "nox -s mutation -- --work /tmp/mutants   (then: cd /tmp/mutants && mutmut browse)",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("--output-dir", type=Path, default=ARTIFACTS / "mutation", metavar="DIR")
    add("--only", action="append", default=[], metavar="MODULE", help="inconclusive, but quick")
    add("--workers", type=positive_int, default=2, metavar="N", help="mutants at a time (2)")
    add("--work", type=Path, metavar="DIR", help="keep the changed copy in this new folder")
    return parser.parse_args(argv)


def measure(plan: Plan, options: argparse.Namespace) -> dict[str, str]:
    """What became of each mutant."""
    from analysis.mutants import prepare, results, run_mutmut

    if options.work is not None:
        prepare(plan, options.work)
        return results(run_mutmut(options.work, options.workers))
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        prepare(plan, Path(folder))
        return results(run_mutmut(Path(folder), options.workers))


def document(outcomes: Mapping[str, str], plan: Plan, command: list[str]) -> dict[str, Any]:
    """The evidence: counts, survivors, and the verdict."""
    from datetime import UTC, datetime

    from analysis.findings import ROOT
    from analysis.mutants import by_module, counts, version
    from evidence.criteria import judge, load_criteria, verdict_of
    from evidence.envelope import commit_of, host_facts, utc_text

    measured = {"modules": by_module(outcomes, plan), "total": counts(outcomes)}
    judgements = judge(load_criteria("mutation"), measured)
    return {
        "schema": f"{NAME}/1",
        "ended_utc": utc_text(datetime.now(UTC)),
        "kit_commit": commit_of(ROOT),
        "host": host_facts(),
        "command": command,
        "mutmut": version(),
        **measured,
        "survivors": sorted(name for name, word in outcomes.items() if word != "killed"),
        "criteria": [item.as_json() for item in judgements],
        "verdict": verdict_of(judgements),
    }


def write(folder: Path, result: dict[str, Any]) -> None:
    """Write the evidence, checked against its schema first."""
    from common.schema import check_value

    check_value(result, NAME, f"{NAME}.json")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2, sort_keys=True, allow_nan=False) + "\n"
    (folder / f"{NAME}.json").write_text(text, encoding="utf-8", newline="\n")


def show(result: dict[str, Any]) -> None:
    """What a person reads."""
    for name, count in (*result["modules"].items(), ("total", result["total"])):
        words = ", ".join(f"{count[key]} {key}" for key in count if key != "score")
        print(f"{name:24} score {count['score']}: {words}")
    for row in result["criteria"]:
        if row["outcome"] != "passed":
            print(
                f"{row['outcome']}: {row['id']}: {row['rule']} {row['expected']}: {row['observed']}"
            )
    print(f"verdict: {result['verdict'].upper()}")


def main(argv: Sequence[str] | None = None) -> Exit:
    """Make the mutants, try them, write what became of them."""
    options = parse(argv)
    from analysis.mutants import load_plan, version
    from evidence.envelope import command_line

    version()
    plan = load_plan(only=options.only)
    command = command_line(None if argv is None else [*argv], __file__)
    result = document(measure(plan, options), plan, command)
    write(options.output_dir, result)
    show(result)
    return EXITS[result["verdict"]]


if __name__ == "__main__":
    run(main)
