"""What to do next, gate by gate: by the same rules that decide whether a gate may start."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from evidence.envelope import commit_of, contract_sha256
from gating.gate_file import gate_names, load_gate
from gating.git import is_ancestor
from gating.ledger_rules import GateError, Subject, check_may_start, why_not_passed
from gating.ledger_runs import gate_runs, process_lives, short

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gating.ledger_chain import Entry
    from stack.model import Stack


def required_gates(entries: Sequence[Entry]) -> dict[str, str | None]:
    """Every gate of scripts/gates and of the ledger, with the gate that it requires."""
    found = {name: load_gate(name).requires for name in gate_names()}
    for run in gate_runs(entries):
        found.setdefault(run.gate, run.requires)
    return found


def subject_of(stack: Stack) -> dict[str, Any]:
    """What a run that started now would be of."""
    return {
        "commit": commit_of(stack.here),
        "contract_sha256": contract_sha256(stack),
        "stack_sha256": stack.sha256,
    }


def next_step(
    entries: Sequence[Entry],
    gate: str,
    requires: str | None,
    stack: Stack,
    *,
    now: Mapping[str, Any],
    is_alive: Callable[[int, str], bool] = process_lives,
) -> str:
    """What helps this gate on, in one line.

    Args:
        entries: verified ones, all of them.
        gate: its name.
        requires: the gate that has to pass before.
        stack: the stack that would be proven.
        is_alive: whether the process of this pid and birth still lives.
        now: of `subject_of`.
    """
    sha = now["commit"]["sha"]
    if sha is not None and now["commit"]["dirty"] is False:
        subject = Subject(sha, now["contract_sha256"], now["stack_sha256"])
        if why_not_passed(entries, gate, subject, stack.name) is None:
            return f"none: it stands for commit {short(sha)}"
    try:
        check_may_start(
            entries,
            gate,
            requires,
            **now,
            rehearsal=False,
            is_ancestor=functools.partial(is_ancestor, stack.here),
            is_alive=is_alive,
            stack_name=stack.name,
        )
    except GateError as problem:
        return str(problem).removeprefix(f"{gate} can't start: ")
    return f"run `nox -s {gate}`"
