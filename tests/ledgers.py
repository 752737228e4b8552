"""Ledgers for tests: made-up runs of gates, real chains and keys.

As a program it appends until somebody ends it, and says what was acknowledged:
`python ledgers.py FOLDER KEY.pem WRITERS`; each writer is killed at a random moment.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from gating.ledger_chain import Entry
from gating.ledger_runs import ended_fields, started_fields

if TYPE_CHECKING:
    from gating.ledger import Ledger

# In the order of their history: what failed, something after it, what is there now.
BROKEN, OTHER_COMMIT, COMMIT = "9" * 40, "1234abc" + "0" * 33, "a" * 40
KIT = "f" * 40
CONTRACT, STACK = "b" * 64, "c" * 64


def envelope(
    commit: str | None = COMMIT,
    *,
    dirty: bool | None = False,
    contract: str = CONTRACT,
    stack: str = STACK,
    name: str = "mine",
    runtime: str = "process",
    kit: str | None = KIT,
    kit_dirty: bool | None = False,
) -> dict[str, Any]:
    """The parts of an envelope that the ledger keeps."""
    return {
        "commit": {"sha": commit, "dirty": dirty},
        "kit_commit": {"sha": kit, "dirty": kit_dirty},
        "contract_sha256": contract,
        "stack": {"name": name, "file": "stack.yaml", "sha256": stack},
        "runtime": runtime,
    }


def is_ancestor(ancestor: str, sha: str) -> bool:
    """Of the commits above, whether the second contains the first; unknown ones contain none."""
    order = [BROKEN, OTHER_COMMIT, COMMIT]
    return {ancestor, sha} <= {*order} and order.index(ancestor) <= order.index(sha)


@dataclass
class History:
    """Entries in memory, as a verified ledger would give them."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, kind: str, **fields: Any) -> Entry:
        """One more entry."""
        seq = len(self.entries) + 1
        time_utc = f"2026-01-01T00:{seq:02}:00.000Z"
        entry = Entry(seq, time_utc, kind, fields, f"{seq:064x}")
        self.entries.append(entry)
        return entry

    def start(
        self,
        gate: str,
        *,
        rehearsal: bool = False,
        requires: str | None = None,
        contract_version: int | None = None,
        **facts: Any,
    ) -> str:
        """A run that has begun; its id."""
        run_id = f"20260101-{len(self.entries):06}"
        fields = started_fields(
            gate,
            run_id,
            envelope(**facts),
            requires=requires,
            rehearsal=rehearsal,
            contract_version=contract_version,
        )
        self.add("gate_started", **fields | {"pid": 7, "birth": "then"})
        return run_id

    def run(
        self,
        gate: str,
        verdict: str,
        *,
        rehearsal: bool = False,
        reservations: tuple[str, ...] = (),
        requires: str | None = None,
        contract_version: int | None = None,
        **facts: Any,
    ) -> str:
        """A run from its start to its end; its id. What fails is on a commit before the others."""
        if verdict == "failed":
            facts.setdefault("commit", BROKEN)
        start = {"rehearsal": rehearsal, "requires": requires} | facts
        run_id = self.start(gate, contract_version=contract_version, **start)
        self.add(
            "gate_ended",
            **ended_fields(
                gate,
                run_id,
                envelope(**facts),
                rehearsal=rehearsal,
                verdict=verdict,
                reservations=reservations,
                manifest_sha256=None,
            ),
        )
        return run_id

    def resolve(self, gate: str, run_id: str, fix: str = COMMIT) -> None:
        """The cause and the fix of a failed run."""
        self.add("resolve", gate=gate, run_id=run_id, root_cause="a leak", fix_commit=fix)

    def remediate(self, gate: str, run_id: str) -> None:
        """What was done after two failures."""
        self.add("remediate", gate=gate, run_id=run_id, examined="all", changes="much", by="Ann")


def write_until_killed(ledger: Ledger, writer: int, said: int) -> None:
    """Append for ever; each acknowledged entry goes to the handle `said` after `append`."""
    for number in range(1, 1_000_000):
        entry = ledger.append("contract", stack=f"writer {writer}", version=number, sha256=CONTRACT)
        os.write(said, f"{entry.seq} {entry.sha256}\n".encode())


def main(folder: Path, key: Path, writers: int) -> None:
    """Kill writers at random moments; print what each had acknowledged."""
    from evidence.keys import load_signer
    from gating.ledger import Ledger

    ledger = Ledger(folder / "ledger.jsonl", load_signer(str(key)))
    # Whatever is imported on the way is imported once, for all of them.
    ledger.append("contract", stack="parent", version=1, sha256=CONTRACT)
    acknowledged: list[list[str]] = []
    for writer in range(writers):
        heard, said = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(heard)
            write_until_killed(ledger, writer, said)
        os.close(said)
        with os.fdopen(heard) as stream:
            # Half of them from their first breath on, half after their first entry.
            lines = [stream.readline()] if writer % 2 else []
            time.sleep(random.uniform(0, 0.03))  # noqa: S311 - nothing is secret
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            acknowledged += [line.split() for line in (*lines, *stream)]
    print(json.dumps(acknowledged))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
