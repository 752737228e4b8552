# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "google-re2",
#     "jsonschema",
#     "platformdirs",
#     "pyyaml",
#     "rich",
# ]
# ///
"""Find secrets in files, archives, streams, logs, evidence folders and git history (H4, G3d).

Writes findings to stdout or --output: place, rule, length and a keyed fingerprint, never the
secret. Nothing is skipped silently: what could not be read is listed, and the scan is then
inconclusive. docs/secrets.md has formats, figures and limits.

exit codes: 0 clean; 1 findings; 2 incomplete, or nothing to read; 64 bad arguments;
78 bad configuration; 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import Exit, UsageError, make_parser, positive_int, run

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from secret_scan.findings import ScanResult
    from secret_scan.rules import RuleSet

EXIT_CODES = {"passed": Exit.PASSED, "failed": Exit.FAILED, "inconclusive": Exit.INCONCLUSIVE}
EXAMPLES = (
    "python scripts/scan_secrets.py . --history",
    "python scripts/scan_secrets.py logs/ evidence.tar.gz --format sarif --output secrets.sarif",
    "journalctl | python scripts/scan_secrets.py -",
    "python scripts/scan_secrets.py . --baseline known.yaml --config my-rules.toml",
    "python scripts/scan_secrets.py . --write-baseline k.yaml --reason data --expires 2027-06-30",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    add = parser.add_argument
    add("paths", nargs="*", metavar="PATH", help="files and folders; - is stdin (default: .)")
    add("--history", action="store_true", help="also every object of the paths' git repositories")
    add("--format", choices=("text", "json", "sarif"), default="text", help="default: text")
    add(
        "--json",
        action="store_const",
        const="json",
        dest="format",
        help="the same as --format json",
    )
    add("--output", type=Path, metavar="FILE", help="write there; stdout keeps the last line")
    add("--baseline", type=Path, metavar="FILE", help="known findings, with reason and expiry")
    add("--config", type=Path, metavar="RULES.toml", help="rules in gitleaks' form (default: ours)")
    add("--engine", choices=("auto", "re2", "hyperscan"), default="auto", help="same findings")
    add("--workers", type=positive_int, metavar="N", help="processes (default: one a core)")
    add("--fingerprint-key", type=Path, metavar="FILE", help="default: your own, made on first use")
    add("--no-inline-allow", action="store_true", help="allow comments in files count for nothing")
    add("--write-baseline", type=Path, metavar="FILE", help="write what is found as a new baseline")
    add("--reason", help="why that is known")
    add("--expires", metavar="YYYY-MM-DD", help="until when that is known")
    options = parser.parse_args(argv)
    if (options.write_baseline is None) != (options.reason is None) or (
        options.write_baseline is None
    ) != (options.expires is None):
        raise UsageError("--write-baseline, --reason and --expires: expected all three or none")
    return options


def scanned(options: argparse.Namespace, rules: RuleSet) -> ScanResult:
    """The scan that the command line asks for, with the baseline applied."""
    from datetime import UTC, datetime

    from secret_scan.baseline import apply_baseline, load_baseline
    from secret_scan.fingerprint import load_key
    from secret_scan.progress import Ticker
    from secret_scan.scan import scan

    baseline = load_baseline(options.baseline) if options.baseline else None
    names = options.paths or ["."]
    with Ticker() as ticker:
        result = scan(
            [Path(name) for name in names if name != "-"],
            history=options.history,
            stdin=sys.stdin.buffer if "-" in names else None,
            rules=rules,
            engine=options.engine,
            key=load_key(options.fingerprint_key),
            inline_allow=not options.no_inline_allow,
            workers=options.workers,
            progress=ticker.update,
        )
    if baseline is None:
        return result
    return apply_baseline(result, baseline, datetime.now(UTC).date())


def write_baseline(options: argparse.Namespace, result: ScanResult) -> None:
    """Write what was found as a baseline.

    Raises:
        UsageError: no such day, or it can't be written.
    """
    import json
    from datetime import date

    from common.schema import check_value
    from secret_scan.baseline import baseline_of

    try:
        expires = date.fromisoformat(options.expires)
    except ValueError as problem:
        raise UsageError(
            f"--expires: expected a day like 2027-06-30, got {options.expires!r}"
        ) from problem
    document = baseline_of(result.findings, result.key_id, options.reason, expires)
    check_value(document, "secret_baseline", str(options.write_baseline))
    write(options.write_baseline, json.dumps(document, indent=2) + "\n")


def write(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        UsageError: it can't be written.
    """
    try:
        path.write_text(text, "utf-8")
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise UsageError(f"can't write {path}: {reason}") from problem


def main(argv: Sequence[str] | None = None) -> Exit:
    """Scan, say what was found, exit by it."""
    options = parse(argv)
    from common.schema import check_value
    from secret_scan.output import rendered
    from secret_scan.rules import load_rules

    rules = load_rules(options.config)
    result = scanned(options, rules)
    check_value(result.as_json(), "secret_scan", "the result")
    if options.write_baseline is not None:
        write_baseline(options, result)
    text = rendered(result, options.format, rules)
    if options.output is None:
        print(text)
    else:
        write(options.output, text + "\n")
        print(rendered(result, "text", rules).splitlines()[-1])
    return EXIT_CODES[result.verdict]


if __name__ == "__main__":
    run(main)
