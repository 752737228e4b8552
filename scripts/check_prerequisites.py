# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "docker",
#     "filelock",
#     "jsonschema",
#     "packaging",
#     "platformdirs",
#     "psutil",
#     "pyyaml",
#     "requests",
# ]
# ///
"""Check what every gate needs before it starts (G0), and say what to do about each failure.

Writes nothing but its answer on stdout.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from common.cli import Exit, UsageError, make_parser, run
from common.options import add_output_dir, add_stack

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

EXAMPLES = (
    "python scripts/check_prerequisites.py",
    "python scripts/check_prerequisites.py --runtime compose",
    "python scripts/check_prerequisites.py --stack my/stack.yaml --json",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, EXAMPLES)
    add_stack(parser)
    add_output_dir(parser)
    parser.add_argument("--runtime", help="a runtime of the stack file (default: its first)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> Exit:
    """Exit 0 when no check failed and at least one passed, else 1."""
    options = parse(argv)
    from evidence.session import remove_leftovers
    from stack.load import load_stack
    from stack.prerequisites import FAILED, PASSED, run_checks, surroundings

    stack = load_stack(options.stack)
    external = stack.service(stack.workload.service).overridden
    remove_leftovers(options.output_dir)
    if options.runtime not in {None, *stack.runtimes}:
        known = ", ".join(stack.runtimes)
        raise UsageError(f"--runtime: expected one of {known}, got {options.runtime!r}")
    around = surroundings(stack, options.output_dir, external=external, runtime=options.runtime)
    results = run_checks(around)
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=2))
    else:
        for result in results:
            print(f"{result.outcome:8} {result.name:20} {result.detail}")
    outcomes = {result.outcome for result in results}
    return Exit.PASSED if PASSED in outcomes and FAILED not in outcomes else Exit.FAILED


if __name__ == "__main__":
    run(main)
