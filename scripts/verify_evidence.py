# /// script
# requires-python = ">=3.11"
# dependencies = ["cryptography>=45"]
# ///
"""Verify a sealed evidence bundle against the signer's public key; writes nothing.

Exit codes: 0 authentic, 1 refused (or, with --require-passed, an authentic bundle of a
run that did not pass), 64 bad arguments, 78 no usable public key.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli import ConfigurationError, Exit, UsageError, make_parser, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from evidence.hash_tree import TreeHashing
    from evidence.verify import Result

UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
EXAMPLES = (
    "python scripts/verify_evidence.py proof_pack_artifacts/20261120-234512 --key KEY.pub",
    "python scripts/verify_evidence.py BUNDLE --key KEY.pub --max-age 7d --require-passed",
)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line."""
    parser = make_parser(__doc__, EXAMPLES)
    parser.add_argument("bundle", type=Path, help="the sealed folder")
    parser.add_argument("--key", type=Path, required=True, help="the signer's public key (PEM)")
    parser.add_argument("--commit", type=_commit, help="the full commit hash it has to be of")
    parser.add_argument("--run-id", help="the run it has to be of")
    parser.add_argument("--max-age", type=_age, help="how old the run may be: 7d, 12h, 30m, 90s")
    parser.add_argument(
        "--require-passed", action="store_true", help="exit 1 unless the run passed"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser.parse_args(argv)


def _commit(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"expected a full commit hash, got {text!r}")
    return text.lower()


def _age(text: str) -> timedelta:
    from datetime import timedelta

    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"expected an age like 7d, 12h, 30m or 90s, got {text!r}")
    return timedelta(seconds=int(match[1]) * UNIT_SECONDS[match[2]])


def report(result: Result, bundle: Path) -> str:
    """What a person reads: the verdict of the verification first, then every refusal."""
    if result.authentic and result.claims is not None:
        return f"AUTHENTIC {bundle}\nrun {result.claims.run_id}: {plain(result.claims.headline)}"
    lines = [f"REFUSED {bundle}: {len(result.refusals)} reason(s)"]
    return "\n".join(lines + [f"  {line}" for line in result.refusals])


def plain(text: str) -> str:
    """Text of others on one line of printable characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def as_json(result: Result, keyid: str) -> str:
    """What a machine reads; claims of a refused bundle are not repeated."""
    claims = result.claims if result.authentic else None
    document = {
        "authentic": result.authentic,
        "refusals": result.refusals,
        "keyid": keyid,
        "run_id": claims and claims.run_id,
        "verdict": claims and claims.verdict,
        "eligible": claims and {"value": claims.eligible, "reasons": list(claims.reasons)},
        "commit": claims and {"sha": claims.commit, "dirty": claims.dirty},
        "ended_utc": claims and claims.ended_utc,
    }
    return json.dumps(document, indent=2, sort_keys=True)


def start_hashing(bundle: Path) -> TreeHashing | None:
    """Let a second process hash while this one loads its modules; None leaves it to later.

    The caller closes it: an error, such as a bad --key, must not leave a process behind.
    """
    from evidence.hash_tree import TreeHashing

    try:
        # As the verifier does: the reader's own path may be a link, evidence/ may not.
        evidence = bundle.resolve() / "evidence"
        return None if evidence.is_symlink() else TreeHashing(str(evidence))
    except OSError:
        return None


def main(argv: Sequence[str] | None = None) -> Exit:
    """Verify one bundle and say so."""
    options = arguments(argv)
    if not options.bundle.is_dir():
        raise UsageError(
            f"expected a bundle folder, got {options.bundle}: give a sealed run folder"
        )
    if options.key.resolve().is_relative_to(options.bundle.resolve()):
        raise ConfigurationError(
            f"{options.key}: a key from the bundle proves nothing: get KEY.pub from the signer"
        )
    with start_hashing(options.bundle) or contextlib.nullcontext() as hashing:
        from evidence.public_key import load_public_key
        from evidence.verify import Wanted, verify_bundle

        key = load_public_key(options.key)
        wanted = Wanted(options.commit, options.run_id, options.max_age)
        result = verify_bundle(options.bundle, key, wanted, hashing=hashing)
    print(as_json(result, key.keyid) if options.json else report(result, options.bundle))
    if not result.authentic or result.claims is None:
        return Exit.FAILED
    if options.require_passed and result.claims.verdict != "passed":
        print(f"expected a passed run, got {result.claims.verdict}", file=sys.stderr)
        return Exit.FAILED
    return Exit.PASSED


if __name__ == "__main__":
    run(main)
