"""gating.ledger_rules, where mutants lived: whole sentences, and no run is passed over (H8, G7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ledgers import BROKEN, COMMIT, CONTRACT, KIT, OTHER_COMMIT, STACK, History, is_ancestor

from gating.commands import script_command
from gating.ledger_rules import GateError, check_may_start, failures_since_pass
from gating.ledger_runs import gate_runs

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = script_command("ledger")


@pytest.fixture
def history() -> History:
    return History()


def nobody(_pid: int, _birth: str) -> bool:
    return False


def ask(
    history: History,
    gate: str,
    requires: str | None = None,
    *,
    commit: str | None = COMMIT,
    dirty: bool | None = False,
    alive: Callable[[int, str], bool] = nobody,
    **more: Any,
) -> None:
    facts: dict[str, Any] = {"contract_sha256": CONTRACT, "stack_sha256": STACK} | more
    facts |= {"commit": {"sha": commit, "dirty": dirty}, "rehearsal": False}
    check_may_start(
        history.entries, gate, requires, is_ancestor=is_ancestor, is_alive=alive, **facts
    )


def refusal(history: History, *args: str, **facts: Any) -> str:
    with pytest.raises(GateError) as caught:
        ask(history, *args, **facts)
    return str(caught.value)


@pytest.mark.parametrize(
    ("facts", "what", "very"),
    [
        ({"dirty": True}, "the working tree has changes", "on this very commit"),
        ({"commit": None}, "the commit is not known", "on this very commit"),
        (
            {"kit_commit": {"sha": KIT, "dirty": True}},
            "the Proof Pack has changes",
            "with this very one",
        ),
        (
            {"kit_commit": {"sha": None, "dirty": None}},
            "the commit of the Proof Pack is not known",
            "with this very one",
        ),
    ],
)
def test_what_is_no_clean_commit_says_what_helps(
    facts: dict[str, Any], what: str, very: str, history: History
) -> None:
    history.run("gate1", "passed")
    assert refusal(history, "gate2", "gate1", **facts) == (
        f"gate2 can't start: {what}, and gate1 has to have passed {very}: "
        "commit what has changed, or add --rehearse"
    )


def test_a_run_is_looked_for_by_its_own_process(history: History) -> None:
    history.start("gate1")
    asked: list[tuple[int, str]] = []

    def look(pid: int, birth: str) -> bool:
        asked.append((pid, birth))
        return False

    ask(history, "gate1", alive=look)
    assert asked == [(7, "then")]


def test_a_fix_that_is_none_says_what_helps(history: History) -> None:
    failed = history.run("gate1", "failed", commit=OTHER_COMMIT)
    history.resolve("gate1", failed, fix=BROKEN)
    assert refusal(history, "gate1") == (
        f"gate1 can't start: 9999999, given as the fix of run {failed}, was already part of "
        "the commit that failed: commit the fix, then resolve it again: "
        f"`{SCRIPT} resolve {failed} --root-cause TEXT --fix-commit SHA`"
    )


def test_a_commit_without_the_fix_says_what_helps(history: History) -> None:
    failed = history.run("gate1", "failed")
    history.resolve("gate1", failed, fix=OTHER_COMMIT)
    assert refusal(history, "gate1", commit=BROKEN) == (
        f"gate1 can't start: commit 9999999 lacks 1234abc, the fix of run {failed}: "
        f"check out a commit that contains {OTHER_COMMIT}"
    )


def test_a_failure_after_a_pass_needs_its_cause(history: History) -> None:
    history.run("gate1", "passed")
    failed = history.run("gate1", "failed")
    assert f"resolve {failed}" in refusal(history, "gate1")


def test_a_failure_that_a_pass_has_ended_hides_no_newer_one(history: History) -> None:
    history.resolve("gate1", history.run("gate1", "failed"))
    history.run("gate1", "passed")
    failed = history.run("gate1", "failed")
    assert f"resolve {failed}" in refusal(history, "gate1")


def test_an_end_in_the_first_line_is_a_failure_too(history: History) -> None:
    """Its start is not in this ledger."""
    more = {"verdict": "failed", "rehearsal": False, "commit": {"sha": BROKEN, "dirty": False}}
    history.add("gate_ended", gate="gate1", run_id="x", **more)
    runs = gate_runs(history.entries)
    assert [run.seq for run in failures_since_pass(runs)] == [1]
