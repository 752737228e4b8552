"""Sealed bundles of gates remember the ledger: one that lacks their start forgets failures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from common import log
from common.cli import ScriptError
from common.documents import parse_json
from evidence.claims import RUN_ID
from evidence.files import read_regular
from gating.ledger_head import LedgerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from evidence.public_key import PublicKey
    from gating.ledger_chain import Entry

_SUMMARIES = "evidence/gate*-summary-*.json"
_LIMIT_BYTES = 64 << 20
_HASH = re.compile(rb'"ledger_sha256"\s*:\s*"([0-9a-f]{64})"')


def check_bundles_known(entries: Sequence[Entry], output_dir: Path, key: PublicKey) -> None:
    """Hold the ledger against the bundles beside it, which name the entry of their start.

    Only bundles that this key has signed and nobody has changed are believed; others,
    such as another signer's, say nothing. A ledger that was put back together with its
    bundles is not found: for that, remember its head (`ledger.py verify --head-sha256`).

    Args:
        entries: verified ones, all of them.
        output_dir: the folder of the run folders.
        key: what has signed the ledger.

    Raises:
        LedgerError: the ledger does not have the start of a run that was sealed.

    Source: requirements G7.
    """
    if problem := forgotten(entries, output_dir, key):
        raise LedgerError(problem)


def forgotten(entries: Sequence[Entry], output_dir: Path, key: PublicKey) -> str | None:
    """The first bundle that speaks against the ledger, and what helps; None without one."""
    known = {entry.sha256 for entry in entries}
    for bundle in sorted(output_dir.glob("*")):
        if not RUN_ID.fullmatch(bundle.name):
            continue
        unknown = _unknown(bundle, key, known)
        if unknown and _authentic(bundle, key):
            return (
                f"{bundle}: expected its entry {min(unknown)} in the ledger, got "
                f"{len(entries)} entries without it: the ledger was put back or is another one: "
                "restore the newest copy of ledger.jsonl and ledger.head.json, or give the "
                "--ledger that the run was recorded in, or another --output-dir"
            )
    return None


def _unknown(bundle: Path, key: PublicKey, known: AbstractSet[str]) -> set[str]:
    """Entries that its gate summaries name and nobody knows; nothing is verified yet."""
    found = set()
    for path in bundle.glob(_SUMMARIES):
        try:
            data = read_regular(path, _LIMIT_BYTES)
            # Searching is much cheaper than parsing, and nearly all bundles are known.
            named = {match.decode() for match in _HASH.findall(data)}
            if named <= known or key.keyid.encode() not in data:
                continue
            found.add(parse_json(data, path.name)["gate"]["ledger_sha256"])
        except (ScriptError, LookupError, TypeError):
            continue  # not as our scripts write it: it says nothing
    return {sha256 for sha256 in found if isinstance(sha256, str)} - known


def _authentic(bundle: Path, key: PublicKey) -> bool:
    from evidence.verify import verify_bundle

    result = verify_bundle(bundle, key)
    if not result.authentic:
        why = result.refusals[0] if result.refusals else "it has no summary"
        log.warn(f"{bundle}: not in the ledger, and not believed: {why}")
    return result.authentic
