"""What to do next, gate by gate: by the same rules that decide whether a gate may start."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from common.cli import ConfigurationError
from common.folders import ROOT
from common.options import ARTIFACTS
from evidence.envelope import commit_of, contract_sha256
from gating.commands import gate_command, run_arguments
from gating.contract import lock_path_of
from gating.gate_file import gate_names, load_gate
from gating.git import is_ancestor
from gating.ledger_contract import check_locked
from gating.ledger_passes import Subject, why_not_passed
from gating.ledger_rules import GateError, check_may_start
from gating.ledger_runs import gate_runs, process_lives, short
from stack.runtime import EXTERNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gating.ledger_chain import Entry
    from stack.model import Stack


def required_gates(entries: Sequence[Entry]) -> dict[str, str | None]:
    """Every gate of scripts/gates and of the ledger, with the gate that it requires."""
    found = {name: load_gate(name).requires for name in gate_names()}
    for run in gate_runs(entries):
        found.setdefault(run.gate, run.requires)
    return found


def subject_of(
    stack: Stack,
    runtime: str | None = None,
    *,
    output_dir: Path = ARTIFACTS,
    ledger: Path | None = None,
) -> dict[str, Any]:
    """What a run that started now would be of.

    Raises:
        ConfigurationError: the stack file has no such runtime.
    """
    if runtime is not None and runtime not in stack.runtimes:
        known = ", ".join(stack.runtimes)
        raise ConfigurationError(f"--runtime {runtime}: expected one of {known}")
    external = stack.service(stack.workload.service).overridden
    name = EXTERNAL if external else runtime or stack.runtimes[0]
    return {
        "commit": {"sha": None, "dirty": None} if external else commit_of(stack.here),
        "kit_commit": commit_of(ROOT),
        "runtime": name,
        "arguments": run_arguments(stack, name, output_dir=output_dir, ledger=ledger),
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
    if _stands(entries, gate, stack, now):
        return f"none: it stands for commit {short(now['commit']['sha'])}"
    try:
        check_locked(entries, stack, lock_path_of(stack))  # as run_gate.py does, at first
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
    except (ConfigurationError, GateError) as problem:
        return " ".join(str(problem).split()).removeprefix(f"{gate} can't start: ")
    return f"run `{gate_command(gate, now['arguments'])}`"


def _stands(entries: Sequence[Entry], gate: str, stack: Stack, now: Mapping[str, Any]) -> bool:
    """Whether its pass is of what a run that started now would be of."""
    commits = (now["commit"], now["kit_commit"])
    if any(commit["sha"] is None or commit["dirty"] is not False for commit in commits):
        return False
    sha, kit_sha = (commit["sha"] for commit in commits)
    hashes = (now["contract_sha256"], now["stack_sha256"])
    subject = Subject(sha, *hashes, runtime=now["runtime"], kit_sha=kit_sha)
    return why_not_passed(entries, gate, subject, stack.name) is None
