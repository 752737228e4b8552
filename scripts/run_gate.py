# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "aiohttp",
#     "cryptography",
#     "docker",
#     "filelock",
#     "google-re2",
#     "jinja2",
#     "jsonschema",
#     "packaging",
#     "platformdirs",
#     "psutil",
#     "py-spy",
#     "pyyaml",
#     "requests",
#     "rfc8785",
#     "rich",
#     "securesystemslib",
#     "urllib3",
# ]
# ///
"""Run a gate: ask the ledger, measure, judge by the gate's criteria, sign, record.

Writes <output-dir>/<YYYYMMDD-HHMMSS>/ with gateN-summary-<time>.json and the rest of the
evidence, and two lines in the ledger (<output-dir>/ledger.jsonl). A gate does not start before
the one that it requires has passed on this commit, nor after a failure without a root cause.
With --rehearse it is shortened: real, marked, and it counts for nothing.

exit codes: 0 passed; 1 failed; 2 inconclusive, or it may not start; 64 bad arguments;
78 bad configuration; 130 interrupted.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import ConfigurationError, UsageError, make_parser, nothing_started, run
from common.options import add_output_dir, add_stack

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from gating.frame import Planned
    from gating.gate_file import GateFile, Measuring, Part
    from stack.model import Stack

COMMON = {"--stack", "--output-dir", "--runtime", "--key", "--public-key", "--json"}
EXAMPLES = (
    "python scripts/run_gate.py gate1",
    "python scripts/run_gate.py gate1 --rehearse --runtime compose",
    "python scripts/run_gate.py gate2 --rehearse -- --duration 5m",
    "python scripts/ledger.py show",
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line (G7)."""
    parser = make_parser(__doc__, EXAMPLES)
    parser.usage = "%(prog)s [options] GATE [-- arguments of the script that measures]"
    add = parser.add_argument
    add("gate", help="gate1, gate2, …: a file of scripts/gates/")
    add("--rehearse", action="store_true", help="shortened: real, marked, counts for nothing")
    add("--ledger", type=Path, metavar="FILE", help="default: ledger.jsonl in the output folder")
    add_stack(parser)
    add_output_dir(parser)
    add("--runtime", metavar="NAME", help="a runtime of the stack file (default: its first)")
    add("--key", help="a PEM private key or signer URI (default: your own, made on first use)")
    add("--public-key", type=Path, metavar="FILE", help="the public key of a signer URI")
    add("--json", action="store_true", help="print the summary as JSON, the steps on stderr")
    # argparse takes what follows `--` for more gates.
    given = sys.argv[1:] if argv is None else [*argv]
    mine = given.index("--") if "--" in given else len(given)
    options, unknown = parser.parse_known_args(given[:mine])
    options.arguments = given[mine + 1 :]
    if unknown:
        raise UsageError(
            f"{unknown[0]} is no option of a gate: options of the script that measures come "
            f"after ` -- ` (see `{parser.prog} --help`)"
        )
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run one gate; the exit code of its verdict."""
    options = parse(argv)
    with nothing_started():
        run_it = prepared(options, argv)
    return run_it()


def prepared(options: argparse.Namespace, argv: Sequence[str] | None) -> Callable[[], int]:
    """Everything that comes before the ledger is asked; what is returned runs the gate."""
    from evidence.envelope import command_line
    from evidence.keys import load_signer
    from evidence.session import remove_leftovers
    from gating.frame import GateRun, typed_command
    from gating.gate_file import load_gate
    from gating.ledger import LEDGER, Ledger
    from gating.recorded import run_in_ledger
    from stack.load import load_stack
    from stack.runtime import open_runtime

    gate = load_gate(options.gate)
    stack = load_stack(options.stack)
    gate_run = GateRun(
        gate,
        plan(gate, options, stack),
        rehearsal=options.rehearse,
        options=options,
        command=command_line(None if argv is None else [*argv], __file__),
        typed=typed_command(argv, __file__),
    )
    key = load_signer(options.key, options.public_key)
    ledger = Ledger(options.ledger or options.output_dir / LEDGER, key)
    remove_leftovers(options.output_dir)
    runtime = open_runtime(stack, options.runtime)
    return functools.partial(run_in_ledger, gate_run, ledger, runtime, key)


def plan(gate: GateFile, options: argparse.Namespace, stack: Stack) -> list[Planned]:
    """The gate's scripts with their arguments.

    Raises:
        UsageError: arguments for a gate of several scripts, or ones that shorten a run that
            is no rehearsal.
        ConfigurationError: arguments in the gate's file that its script does not have.
    """
    from gating.frame import Planned

    given = {text.partition("=")[0] for text in options.arguments}
    if ours := sorted(given & COMMON):
        raise UsageError(f"{ours[0]} is an option of the gate: give it before `--`")
    if options.arguments and len(gate.parts) > 1:
        names = ", ".join(part.script for part in gate.parts)
        raise UsageError(f"{gate.name} runs several scripts ({names}): expected no arguments")
    planned = []
    for part in gate.parts:
        module = part.load()
        chosen = own_arguments(gate, part, module, rehearse=options.rehearse)
        parsed = module.parse([*chosen, *options.arguments, *common_arguments(options)])
        planned.append(Planned(module, parsed))
        reasons = module.reservations(parsed, stack)
        if reasons and not options.rehearse:
            raise UsageError(f"{reasons[0]}: that is a rehearsal: add --rehearse")
    return planned


def own_arguments(
    gate: GateFile, part: Part, module: Measuring, *, rehearse: bool
) -> tuple[str, ...]:
    """The arguments in the gate's file; tried by themselves, so that a mistake is named there."""
    name = "rehearsal" if rehearse else "arguments"
    chosen = part.rehearsal if rehearse else part.arguments
    try:
        module.parse(chosen)
    except UsageError as problem:
        raise ConfigurationError(
            f"{gate.path}: {name} of {part.script}: {problem}: correct the gate's file"
        ) from problem
    return chosen


def common_arguments(options: argparse.Namespace) -> list[str]:
    """What the gate and its scripts understand alike."""
    given = {"--stack": options.stack, "--output-dir": options.output_dir}
    return [text for name, value in given.items() for text in (name, str(value))]


if __name__ == "__main__":
    run(main)
