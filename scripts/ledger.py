# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "cryptography>=45",
#     "filelock>=3.16",
#     "jsonschema",
#     "platformdirs>=4.3",
#     "psutil",
#     "pyyaml",
#     "rfc8785",
#     "securesystemslib>=1.3",
# ]
# ///
"""Show and verify the ledger of gate runs; write down causes, remediations and the contract.

The ledger is OUTPUT_DIR/ledger.jsonl: an append-only chain with a signed head. One key
signs it from its first entry on. `verify` finds every edit, and an old copy beside newer
bundles, but none that was put back with its bundles: for that, keep the head that it prints
and give it as --head-sha256 next time.

Exit codes: 0 done, 1 refused or changed, 2 nothing to verify, 64 bad arguments, 78 broken input.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError, Exit, ScriptError, UsageError, make_parser, run
from common.options import add_output_dir, add_stack

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from evidence.public_key import PublicKey
    from gating.ledger import Entry, Ledger
    from gating.ledger_runs import LoggedRun
    from stack.model import Stack

EXAMPLES = (
    "python scripts/ledger.py show --markdown > EXECUTION_LOG.md",
    "python scripts/ledger.py verify --key KEY.pub --head-sha256 $(cat remembered-head)",
    "python scripts/ledger.py resolve RUN_ID --root-cause 'the pool leaked' --fix-commit SHA",
    "python scripts/ledger.py remediate RUN_ID --examined TEXT --changes TEXT --by NAME",
    "python scripts/ledger.py contract --stack compose/reference/stack.yaml --bump",
)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line."""
    parser = make_parser(__doc__, EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, allow_abbrev=False)
        add_output_dir(added)
        where = "default: ledger.jsonl in the output folder"
        added.add_argument("--ledger", type=Path, metavar="FILE", help=where)
        return added

    show = command("show", "how each gate stands, and the execution log")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print Markdown")
    form.add_argument("--json", action="store_true", help="print JSON")
    show.add_argument("--key", type=Path, metavar="KEY.pub", help="who signed it (default: you)")
    show.add_argument("--runtime", metavar="NAME", help="next steps on it (default: its first)")
    add_stack(show)
    verify = command("verify", "check every entry and the signature; writes nothing")
    verify.add_argument("--key", type=Path, required=True, metavar="KEY.pub", help="who signed it")
    verify.add_argument("--head-sha256", metavar="X", help="a head that you remember is in it")
    resolve = command("resolve", "the root cause and the fix of a failed run")
    resolve.add_argument("run_id", metavar="RUN_ID")
    resolve.add_argument("--root-cause", required=True, metavar="TEXT")
    resolve.add_argument("--fix-commit", required=True, metavar="SHA", help="40 hex digits")
    add_stack(resolve)
    remediate = command("remediate", "what was done after a gate failed twice")
    remediate.add_argument("run_id", metavar="RUN_ID", help="the newest failed run")
    for name in ("--examined", "--changes", "--by"):
        remediate.add_argument(name, required=True, metavar="TEXT")
    contract = command("contract", "check the contract lock, or lock a new version")
    contract.add_argument("--bump", action="store_true", help="lock the contract as it is now")
    contract.add_argument("--lock", type=Path, metavar="FILE", help="default: beside the stack")
    add_stack(contract)
    for added in (resolve, remediate, contract):
        added.add_argument("--key", help="PEM private key or signer URI (default: your own)")
        added.add_argument("--public-key", type=Path, metavar="FILE", help="of a signer URI")
    return parser.parse_args(argv)


def show(options: argparse.Namespace) -> Exit:
    """Print the table of gates and the execution log."""
    from gating.ledger import read
    from gating.ledger_bundles import forgotten
    from gating.ledger_page import COLUMNS, LOG_COLUMNS, log_rows, markdown_table, text_table

    path, key = _path(options), _reader(options.key)
    state = read(path, key)
    stack = _stack(options.stack)
    problem = key and forgotten(state.entries, options.output_dir, key)
    gates = [
        item.as_json() | ({"next_step": problem} if problem else {})
        for item in _statuses(state.entries, stack, options)
    ]
    head = state.head.as_json() if state.head else None
    if options.json:
        log = [vars(entry) for entry in state.entries]
        value = {"verified": key is not None, "head": head, "gates": gates, "entries": log}
        print(json.dumps(value, indent=2))
        return Exit.PASSED
    table = markdown_table if options.markdown else text_table
    rows = [tuple(gate.values()) for gate in gates]
    title = "# " if options.markdown else ""
    signed = f"head {head['head_sha256']} of key {head['keyid'][:16]}" if head else "no entry yet"
    if head and key is None:
        signed += ": SIGNATURE NOT CHECKED, give --key KEY.pub"
    print(f"{title}Gates of {stack.name}\n\n{table(COLUMNS, rows)}\n")
    print(f"{title}Execution log\n\n{table(LOG_COLUMNS, log_rows(state.entries))}\n\n{signed}")
    return Exit.PASSED


def _statuses(entries: Sequence[Entry], stack: Stack, options: argparse.Namespace) -> list[Any]:
    from gating.ledger_page import gate_status
    from gating.ledger_steps import next_step, required_gates, subject_of

    subject = subject_of(
        stack, options.runtime, output_dir=options.output_dir, ledger=options.ledger
    )
    return [
        gate_status(
            entries,
            gate,
            next_step(entries, gate, needs, stack, now=subject),
            stack_name=stack.name,
        )
        for gate, needs in required_gates(entries).items()
    ]


def verify(options: argparse.Namespace) -> Exit:
    """Hold the ledger against a public key, and against a head that is remembered."""
    from evidence.public_key import load_public_key
    from gating.ledger import verify as verified
    from gating.ledger_bundles import check_bundles_known

    key = load_public_key(options.key)
    entries = verified(_path(options), key)
    _check_remembered(entries, options.head_sha256)
    check_bundles_known(entries, _path(options).parent, key)
    if not entries:
        raise ScriptError(f"expected a ledger {_path(options)}, got none: run a gate first")
    print(f"verified: {len(entries)} entries, signed by key {key.keyid}")
    print(f"remember the head: {entries[-1].sha256}")
    return Exit.PASSED


def _check_remembered(entries: Sequence[Entry], sha256: str | None) -> None:
    from gating.ledger import LedgerError

    if sha256 is not None and sha256 not in {entry.sha256 for entry in entries}:
        raise LedgerError(
            f"expected an entry with the remembered head {sha256}, got {len(entries)} entries "
            "without it: an older or another ledger was put in its place"
        )


def resolve(options: argparse.Namespace) -> Exit:
    """Write down why a run failed and which commit fixes it."""
    from gating.git import commit_exists, is_ancestor
    from gating.ledger_rules import why_no_fix

    folder = options.stack.resolve().parent
    if not commit_exists(folder, options.fix_commit):
        raise UsageError(
            f"--fix-commit: expected the 40 hex digits of a commit in the checkout of {folder}, "
            f"got {options.fix_commit!r}: `git rev-parse HEAD` prints one"
        )

    def check(run: LoggedRun) -> None:
        if why := why_no_fix(run, options.fix_commit, functools.partial(is_ancestor, folder)):
            raise UsageError(f"--fix-commit: {why}: commit the fix, then give that commit")
        if run.resolved is not None:
            print(f"this replaces entry {run.resolved.seq}, which stays in the log")

    texts = {"root_cause": _text("--root-cause", options.root_cause)}
    return _answer(options, "resolve", check, **texts, fix_commit=options.fix_commit)


def remediate(options: argparse.Namespace) -> Exit:
    """Write down what was done after a gate has failed twice."""
    names = ("examined", "changes", "by")
    texts = {name: _text(f"--{name}", getattr(options, name)) for name in names}
    return _answer(options, "remediate", lambda _run: None, **texts)


def _answer(
    options: argparse.Namespace, kind: str, allowed: Callable[[LoggedRun], None], **fields: str
) -> Exit:
    """Append an entry about a failed run, which the ledger must know as one."""
    from gating.ledger_runs import gate_runs

    ledger = _ledger(options)

    def check(entries: Sequence[Entry]) -> LoggedRun:
        failed = [item for item in gate_runs(entries) if item.failed]
        found = [item for item in failed if item.run_id == options.run_id]
        if not found:
            known = ", ".join(item.run_id for item in failed) or "there is none"
            raise UsageError(f"expected the id of a failed run ({known}), got {options.run_id!r}")
        return found[-1]

    run = check(ledger.entries())
    allowed(run)
    gate = run.gate
    entry = ledger.append_if(check, kind, gate=gate, run_id=options.run_id, **fields)
    print(f"entry {entry.seq}: {kind} {gate} {options.run_id}")
    return Exit.PASSED


def contract(options: argparse.Namespace) -> Exit:
    """Check the contract lock; with --bump lock what is there now, and log it."""
    from gating.contract import lock_path_of
    from gating.ledger import read
    from gating.ledger_contract import bump_logged, check_locked

    stack = _stack(options.stack)
    lock_path = options.lock or lock_path_of(stack)
    try:
        if options.bump:
            lock = bump_logged(_ledger(options), stack, lock_path)
        else:
            # Only to refuse more: whoever forges it gains nothing, and no key is made for it.
            entries = read(_path(options), None).entries
            lock = check_locked(entries, stack, lock_path)
    except ConfigurationError as problem:
        if options.bump:
            raise
        print(f"REFUSED {' '.join(str(problem).split())}")
        return Exit.FAILED
    advice = f": commit {lock_path}" if options.bump else ""
    print(f"{stack.name}: contract version {lock.version} is {lock.sha256}{advice}")
    return Exit.PASSED


def _path(options: argparse.Namespace) -> Path:
    from gating.ledger import LEDGER

    return Path(options.ledger or options.output_dir / LEDGER)


def _ledger(options: argparse.Namespace) -> Ledger:
    from evidence.keys import load_signer
    from gating.ledger import Ledger

    return Ledger(_path(options), load_signer(options.key, options.public_key))


def _reader(path: Path | None) -> PublicKey | None:
    """The public key to read with: the one given, or the user's own where there is one."""
    from common.folders import configuration_folder
    from evidence.key_store import PUBLIC_NAME
    from evidence.public_key import load_public_key

    own = configuration_folder() / PUBLIC_NAME
    if path is None and not own.is_file():
        return None
    return load_public_key(path or own)


def _stack(path: Path) -> Stack:
    from stack.load import load_stack

    return load_stack(path)


def _text(option: str, text: str) -> str:
    if not text.strip():
        raise UsageError(f"{option}: expected a text, got an empty one")
    return text.strip()


def main(argv: Sequence[str] | None = None) -> Exit:
    """Run one of the commands."""
    options = arguments(argv)
    commands = {
        "show": show,
        "verify": verify,
        "resolve": resolve,
        "remediate": remediate,
        "contract": contract,
    }
    from gating.ledger import LedgerError

    try:
        return commands[options.command](options)
    except LedgerError as problem:
        print(f"REFUSED {' '.join(str(problem).split())}")
        return Exit.FAILED


if __name__ == "__main__":
    run(main)
