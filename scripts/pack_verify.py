# /// script
# requires-python = ">=3.11"
# dependencies = ["jsonschema>=4.23", "rfc8785>=0.1.4", "tiktoken>=0.9"]
# ///
"""Verify a pack index: its schema, and what a schema can't say; writes nothing (H5).

Exit codes: 0 passed, 1 failed, 2 inconclusive (nothing packed, no --repo, or a tokenizer
that is not on this machine), 64 bad arguments, 78 an unreadable repository.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import Exit, ScriptError, UsageError, make_parser, positive_int, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from pack.verify import Finding

INDEX_LIMIT_BYTES = 64 << 20
EXIT_CODES = {"passed": Exit.PASSED, "failed": Exit.FAILED, "inconclusive": Exit.INCONCLUSIVE}
EXAMPLES = (
    "python scripts/pack_verify.py index.json --repo path/to/repository",
    "python scripts/pack_verify.py index.json --repo https://host/repository.git --budget 50000",
)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line."""
    parser = make_parser(__doc__, EXAMPLES)
    parser.add_argument("index", type=Path, help="the pack index (JSON)")
    parser.add_argument("--repo", metavar="PATH_OR_URL", help="what was packed")
    parser.add_argument("--budget", type=positive_int, metavar="N", help="the budget asked for")
    parser.add_argument("--tokenizer", metavar="NAME", help="the tokenizer asked for")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(argv)


def read_index(path: Path) -> bytes:
    """The bytes of the index.

    Raises:
        UsageError: missing, not a regular file, unreadable, or too large.
    """
    from evidence.files import read_regular

    try:
        return read_regular(path.resolve(), INDEX_LIMIT_BYTES)
    except (ScriptError, OSError, RuntimeError) as problem:
        raise UsageError(f"{path}: {problem}") from problem


def report(findings: Sequence[Finding], verdict: str, path: Path) -> str:
    """What a person reads: the verdict, then each check that did not pass, and why it matters."""
    passed = sum(finding.outcome == "passed" for finding in findings)
    lines = [f"{verdict.upper()} {path}: {passed} of {len(findings)} checks passed"]
    for finding in findings:
        if finding.outcome != "passed":
            lines.append(f"  {finding.outcome:12} {finding.id}: {finding.why}")
            lines += [f"    {problem}" for problem in finding.problems]
    return "\n".join(lines)


def as_json(findings: Sequence[Finding], verdict: str) -> str:
    """What a machine reads."""
    import json

    rows = [finding.as_json() for finding in findings]
    return json.dumps({"verdict": verdict, "checks": rows}, indent=2, sort_keys=True)


def main(argv: Sequence[str] | None = None) -> Exit:
    """Verify one index and say so."""
    options = arguments(argv)
    data = read_index(options.index)
    from pack.repository import read_repository
    from pack.verify import Wanted, verdict_of, verify_index

    repository = read_repository(options.repo) if options.repo is not None else None
    wanted = Wanted(options.budget, options.tokenizer)
    findings = verify_index(data, repository=repository, wanted=wanted)
    verdict = verdict_of(findings)
    printed = as_json(findings, verdict) if options.json else ""
    print(printed or report(findings, verdict, options.index))
    return EXIT_CODES[verdict]


if __name__ == "__main__":
    run(main)
