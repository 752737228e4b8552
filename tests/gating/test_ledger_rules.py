"""gating.ledger_rules: each rule of G7, kept and broken, with the line that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ledgers import BROKEN, COMMIT, CONTRACT, KIT, OTHER_COMMIT, STACK, History, is_ancestor

from gating.commands import script_command
from gating.ledger_rules import GateError, check_may_start
from gating.ledger_runs import gate_runs, process_lives, started_fields

if TYPE_CHECKING:
    from collections.abc import Callable

OTHER = "d" * 64


@pytest.fixture
def history() -> History:
    return History()


def ask(
    history: History,
    gate: str,
    requires: str | None = None,
    *,
    commit: str | None = COMMIT,
    dirty: bool | None = False,
    rehearsal: bool = False,
    contains: Callable[[str, str], bool] = is_ancestor,
    alive: bool = False,
    **more: Any,
) -> None:
    check_may_start(
        history.entries,
        gate,
        requires,
        commit={"sha": commit, "dirty": dirty},
        contract_sha256=CONTRACT,
        stack_sha256=STACK,
        rehearsal=rehearsal,
        is_ancestor=contains,
        is_alive=lambda _pid, _birth: alive,
        **more,
    )


def refusal(history: History, gate: str, requires: str | None = None, **facts: Any) -> str:
    with pytest.raises(GateError) as caught:
        ask(history, gate, requires, **facts)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_first_gate_may_start_on_an_empty_ledger(history: History) -> None:
    ask(history, "gate1")
    ask(history, "gate1", dirty=True)
    ask(history, "gate1", commit=None, dirty=None)


def test_a_gate_starts_after_its_predecessor_passed(history: History) -> None:
    history.run("gate1", "passed")
    ask(history, "gate2", "gate1")
    history.run("gate5", "failed")  # nobody requires it
    ask(history, "gate2", "gate1")


def test_a_predecessor_that_was_not_run_is_named_with_its_command(history: History) -> None:
    assert refusal(history, "gate2", "gate1", commit=OTHER_COMMIT) == (
        "gate2 can't start: gate1 has not passed on commit 1234abc: run `make gate1`"
    )


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"rehearsal": True}, ": its rehearsal 20260101-000000 does not count"),
        ({"reservations": ("shortened: 20 minutes",)}, "does not count (shortened: 20 minutes)"),
        ({"dirty": True}, "without changes: run 20260101-000000 had some"),
        ({"dirty": None}, "without changes: run 20260101-000000 had some"),
        ({"commit": OTHER_COMMIT}, "on commit aaaaaaa: it passed on 1234abc"),
        ({"commit": None}, "it passed on an unknown commit"),
        ({"contract": OTHER}, "with this contract: expected bbbbbbb, got ddddddd"),
        ({"stack": OTHER}, "with this stack file: expected ccccccc, got ddddddd"),
    ],
)
def test_a_pass_of_anything_else_does_not_count(
    facts: dict[str, Any], words: str, history: History
) -> None:
    history.run("gate1", "passed", **facts)
    line = refusal(history, "gate2", "gate1")
    assert line.startswith("gate2 can't start: gate1 has not passed on commit aaaaaaa")
    assert words in line
    assert line.endswith(": run `make gate1`")


NOW: dict[str, Any] = {"runtime": "process", "kit_commit": {"sha": KIT, "dirty": False}}


@pytest.mark.parametrize(
    ("facts", "words", "command"),
    [
        (
            {"runtime": "compose"},
            "on this runtime: expected process, got compose in run 20260101-000000",
            'make gate1 ARGS="--runtime process --stack my.yaml"',
        ),
        ({"kit": OTHER_COMMIT}, "with this Proof Pack: expected fffffff, got 1234abc", ""),
        ({"kit": None}, "with this Proof Pack: expected fffffff, got an unknown commit", ""),
        ({"kit_dirty": True}, "with this Proof Pack: expected no changes in it, got some", ""),
        ({"kit_dirty": None}, "with this Proof Pack: expected no changes in it, got some", ""),
    ],
)
def test_a_pass_on_another_runtime_or_with_another_kit_does_not_count(
    facts: dict[str, Any], words: str, command: str, history: History
) -> None:
    history.run("gate1", "passed", **facts)
    arguments = command.partition('"')[2].rstrip('"')
    line = refusal(history, "gate2", "gate1", **NOW, arguments=arguments)
    assert words in line
    assert line.endswith(f": run `{command or 'make gate1'}`")
    history.run("gate1", "passed")
    ask(history, "gate2", "gate1", **NOW)


def test_the_pass_before_the_pass_is_of_this_runtime_as_well(history: History) -> None:
    history.run("gate1", "passed", runtime="compose")
    history.run("gate2", "passed", requires="gate1")
    assert "on this runtime" in refusal(history, "gate3", "gate2", **NOW)


def test_a_line_without_kit_and_runtime_opens_nothing(history: History) -> None:
    history.run("gate1", "passed")
    old = {**history.entries[-1].fields}
    del old["kit_commit"], old["runtime"]
    history.entries[:] = []
    history.add("gate_ended", **old)
    assert "with this Proof Pack" in refusal(history, "gate2", "gate1", **NOW)
    facts = {"runtime": "process"}
    assert "got an unknown one" in refusal(history, "gate2", "gate1", **facts)
    ask(history, "gate2", "gate1")  # who does not compare them does not mind


@pytest.mark.parametrize(
    ("kit", "words"),
    [
        ({"sha": KIT, "dirty": True}, "the Proof Pack has changes, and gate1 has to have passed"),
        ({"sha": KIT, "dirty": None}, "the Proof Pack has changes"),
        ({"sha": None, "dirty": None}, "the commit of the Proof Pack is not known"),
    ],
)
def test_a_changed_kit_is_not_what_the_predecessor_passed_with(
    kit: dict[str, Any], words: str, history: History
) -> None:
    history.run("gate1", "passed")
    assert words in refusal(history, "gate2", "gate1", kit_commit=kit)
    ask(history, "gate1", kit_commit=kit)  # which requires none


@pytest.mark.parametrize("verdict", ["failed", "inconclusive"])
def test_a_predecessor_with_another_verdict_has_not_passed(verdict: str, history: History) -> None:
    history.run("gate1", verdict)
    assert "gate1 has not passed" in refusal(history, "gate2", "gate1")


def test_a_predecessor_without_an_end_has_not_passed(history: History) -> None:
    history.start("gate1")
    assert "gate1 has not passed" in refusal(history, "gate2", "gate1")


def test_a_later_failure_revokes_the_pass(history: History) -> None:
    history.run("gate1", "passed")
    failed = history.run("gate1", "failed", commit=OTHER_COMMIT)
    line = refusal(history, "gate2", "gate1")
    assert f"gate1 has failed since it passed (run {failed} on 1234abc)" in line
    history.resolve("gate1", failed)
    history.run("gate1", "passed")
    ask(history, "gate2", "gate1")


def test_the_end_decides_which_run_was_later(history: History) -> None:
    """Two that overlap (on two machines): the one that failed last revokes."""
    history.start("gate1")
    first = history.entries[-1].fields
    history.run("gate1", "passed")
    end = {**first, "verdict": "failed", "reservations": [], "manifest_sha256": None}
    history.add("gate_ended", **end)
    assert "has failed since it passed" in refusal(history, "gate2", "gate1")


@pytest.mark.parametrize(("verdict", "rehearsal"), [("inconclusive", False), ("failed", True)])
def test_what_is_no_failure_revokes_nothing(
    verdict: str,
    rehearsal: bool,  # noqa: FBT001 - a parameter of pytest
    history: History,
) -> None:
    history.run("gate1", "passed")
    history.run("gate1", verdict, rehearsal=rehearsal)
    history.start("gate1")
    history.run("gate1", "passed", commit=OTHER_COMMIT)
    ask(history, "gate2", "gate1")


def test_a_pass_falls_with_the_pass_that_it_was_built_on(history: History) -> None:
    history.run("gate1", "passed")
    history.run("gate2", "passed", requires="gate1")
    ask(history, "gate3", "gate2")
    history.run("gate1", "failed")
    assert "gate1 has failed since" in refusal(history, "gate3", "gate2")


def test_gates_that_require_each_other_end_nowhere_endless(history: History) -> None:
    history.run("gate1", "passed", requires="gate2")
    history.run("gate2", "passed", requires="gate1")
    ask(history, "gate3", "gate2")


def test_changes_in_the_tree_are_not_what_the_predecessor_passed_on(history: History) -> None:
    history.run("gate1", "passed")
    for dirty in (True, None):
        line = refusal(history, "gate2", "gate1", dirty=dirty)
        assert "the working tree has changes" in line
    history.run("gate1", "passed", commit=None)
    assert "the commit is not known" in refusal(history, "gate2", "gate1", commit=None)
    line = refusal(history, "gate2", "gate1", commit=None, dirty=None)
    assert "the commit is not known" in line
    assert "--rehearse" in line


def test_a_rehearsal_may_always_start(history: History) -> None:
    ask(history, "gate2", "gate1", rehearsal=True)
    history.run("gate2", "failed")
    history.run("gate2", "failed")
    history.start("gate2")
    ask(history, "gate2", "gate1", rehearsal=True, alive=True, dirty=True)


def test_a_rehearsal_that_failed_is_no_failure(history: History) -> None:
    history.run("gate1", "failed", rehearsal=True)
    history.run("gate1", "failed", rehearsal=True)
    ask(history, "gate1")


def test_a_run_ends_once(history: History) -> None:
    failed = history.run("gate1", "failed")
    history.add("gate_ended", **{**history.entries[-1].fields, "verdict": "passed"})
    assert f"its run {failed} failed" in refusal(history, "gate1")
    assert "has not passed" in refusal(history, "gate2", "gate1")


def test_a_cause_that_was_known_before_the_failure_is_none(history: History) -> None:
    history.resolve("gate1", "20260101-000001")
    assert history.run("gate1", "failed") == "20260101-000001"
    assert "resolve it first" in refusal(history, "gate1")


def test_a_rehearsal_can_not_end_as_a_full_run(history: History) -> None:
    history.start("gate1", rehearsal=True)
    end = {"verdict": "passed", "rehearsal": False, "reservations": []}
    history.add("gate_ended", **{**history.entries[-1].fields, **end})
    assert "its rehearsal" in refusal(history, "gate2", "gate1")


def test_after_a_failure_the_rerun_waits_for_its_cause(history: History) -> None:
    failed = history.run("gate1", "failed", commit=OTHER_COMMIT)
    assert refusal(history, "gate1") == (
        f"gate1 can't start: its run {failed} failed on commit 1234abc: resolve it first: "
        f"`{script_command('ledger', 'resolve', failed)} --root-cause TEXT --fix-commit SHA`"
    )
    history.resolve("gate2", failed)
    refusal(history, "gate1")
    history.resolve("gate1", "20260101-999999")
    refusal(history, "gate1")
    history.resolve("gate1", failed)
    ask(history, "gate1")


def test_a_shortened_run_that_failed_is_a_failure(history: History) -> None:
    history.run("gate1", "failed", reservations=("shortened",))
    assert "resolve it first" in refusal(history, "gate1")


def test_every_failure_needs_a_cause_not_the_newest_alone(history: History) -> None:
    first = history.run("gate1", "failed")
    second = history.run("gate1", "failed")
    history.resolve("gate1", second)
    history.remediate("gate1", second)
    assert f"resolve {first}" in refusal(history, "gate1")


def test_a_rerun_contains_the_fix(history: History) -> None:
    failed = history.run("gate1", "failed")
    history.resolve("gate1", failed, fix=OTHER_COMMIT)
    line = refusal(history, "gate1", commit=BROKEN)
    assert f"commit 9999999 lacks 1234abc, the fix of run {failed}" in line
    assert "an unknown commit lacks" in refusal(history, "gate1", commit=None)
    ask(history, "gate1")


@pytest.mark.parametrize(
    ("failed_on", "fix", "words"),
    [
        (COMMIT, COMMIT, "aaaaaaa, given as the fix of run {}, is the commit that failed"),
        (COMMIT, BROKEN, "9999999, given as the fix of run {}, was already part of the commit"),
        ("e" * 40, "e" * 40, "is the commit that failed"),  # even where git has lost it
    ],
)
def test_what_the_failed_commit_contained_is_no_fix(
    failed_on: str, fix: str, words: str, history: History
) -> None:
    failed = history.run("gate1", "failed", commit=failed_on)
    history.resolve("gate1", failed, fix=fix)
    line = refusal(history, "gate1")
    assert words.format(failed) in line
    assert f"resolve it again: `{script_command('ledger', 'resolve', failed)}" in line


def test_the_newest_cause_counts_and_a_worse_one_is_refused(history: History) -> None:
    failed = history.run("gate1", "failed", commit=OTHER_COMMIT)
    history.resolve("gate1", failed, fix=BROKEN)
    refusal(history, "gate1")
    history.resolve("gate1", failed, fix=COMMIT)
    ask(history, "gate1")
    history.resolve("gate1", failed, fix=OTHER_COMMIT)
    assert "is the commit that failed" in refusal(history, "gate1")


def test_of_a_commit_that_is_not_known_no_fix_is_refused(history: History) -> None:
    history.resolve("gate1", history.run("gate1", "failed", commit=None))
    ask(history, "gate1")


def test_a_fix_that_a_pass_has_confirmed_is_not_asked_for_again(history: History) -> None:
    history.resolve("gate1", history.run("gate1", "failed"))
    history.run("gate1", "passed")
    ask(history, "gate1", contains=lambda _fix, _commit: False)


def test_a_resolve_without_a_fix_resolves_nothing(history: History) -> None:
    failed = history.run("gate1", "failed")
    history.add("resolve", gate="gate1", run_id=failed, root_cause="a leak", fix_commit=None)
    assert "resolve it first" in refusal(history, "gate1")


def fail(history: History, times: int) -> list[str]:
    """Failures that are all resolved."""
    failed = [history.run("gate1", "failed") for _ in range(times)]
    for run_id in failed:
        history.resolve("gate1", run_id)
    return failed


def test_after_two_failures_a_remediation_is_needed(history: History) -> None:
    history.remediate("gate1", fail(history, 1)[0])
    ask(history, "gate1")
    newest = fail(history, 1)[0]
    assert refusal(history, "gate1") == (
        "gate1 can't start: it has failed 2 times since it passed: remediate it first: "
        f"`{script_command('ledger', 'remediate', newest)} "
        "--examined TEXT --changes TEXT --by NAME`"
    )
    history.remediate("gate2", newest)
    refusal(history, "gate1")
    history.remediate("gate1", newest)
    ask(history, "gate1")


def test_a_remediation_that_did_not_help_is_not_enough_for_the_next_time(history: History) -> None:
    history.remediate("gate1", fail(history, 2)[-1])
    ask(history, "gate1")
    newest = fail(history, 1)[0]
    assert "it has failed 3 times" in refusal(history, "gate1")
    history.remediate("gate1", newest)
    ask(history, "gate1")


def test_failures_before_a_pass_are_not_counted_again(history: History) -> None:
    history.remediate("gate1", fail(history, 2)[-1])
    history.run("gate1", "passed")
    fail(history, 1)
    ask(history, "gate1")


@pytest.mark.parametrize(
    "facts",
    [
        {"rehearsal": True},
        {"dirty": True},
        {"reservations": ("shortened",)},
        {"kit_dirty": True},
        {"kit": None},
    ],
)
def test_a_pass_that_does_not_count_ends_no_row_of_failures(
    facts: dict[str, Any], history: History
) -> None:
    fail(history, 1)
    history.run("gate1", "passed", **facts)
    fail(history, 1)
    assert "it has failed 2 times" in refusal(history, "gate1")


def test_a_run_that_goes_on_keeps_others_out(history: History) -> None:
    run_id = history.start("gate1")
    line = refusal(history, "gate1", alive=True)
    assert line == (f"gate1 can't start: run {run_id} of it goes on (pid 7): wait for its end")
    ask(history, "gate3", alive=True)


def test_an_abandoned_run_is_no_failure_and_no_pass(history: History) -> None:
    history.start("gate1")
    ask(history, "gate1", alive=False)
    assert "has not passed" in refusal(history, "gate2", "gate1")
    assert gate_runs(history.entries)[0].open


def test_only_this_process_lives() -> None:
    from ledgers import envelope

    fields = started_fields("gate1", "1", envelope(), requires=None, rehearsal=False)
    pid, birth = fields["pid"], fields["birth"]
    assert isinstance(pid, int)
    assert isinstance(birth, str)
    assert process_lives(pid, birth)
    assert not process_lives(pid, "another boot:1")
    assert not process_lives(pid, "")
    assert not process_lives(0, "")


def test_other_systems_in_the_ledger_are_left_alone(history: History) -> None:
    history.run("gate1", "failed", name="theirs")
    ask(history, "gate1", stack_name="mine")
    assert "resolve it first" in refusal(history, "gate1", stack_name="theirs")
    assert "resolve it first" in refusal(history, "gate1")
    history.run("gate1", "passed", name="theirs")
    assert "has not passed" in refusal(history, "gate2", "gate1", stack_name="mine")


def test_a_run_that_has_ended_keeps_nobody_out(history: History) -> None:
    """The process may live on: it starts the next gate."""
    history.run("gate1", "passed")
    ask(history, "gate1", alive=True)


def test_a_remediation_from_before_the_failure_is_none(history: History) -> None:
    fail(history, 1)
    history.remediate("gate1", f"20260101-{len(history.entries) + 1:06}")
    newest = fail(history, 1)[0]
    assert history.entries[-4].fields["run_id"] == newest
    assert "remediate it first" in refusal(history, "gate1")


def test_the_process_of_the_start_is_the_one_that_is_looked_for(history: History) -> None:
    history.start("gate1")
    run = gate_runs(history.entries)[0]
    assert (run.pid, run.birth) == (7, "then")


def test_runs_stand_in_the_order_of_their_starts(history: History) -> None:
    first = history.start("gate1")
    end: dict[str, Any] = {"verdict": "passed", "reservations": [], "manifest_sha256": None}
    fields = history.entries[-1].fields
    second = history.run("gate2", "passed")
    history.add("gate_ended", **{**fields, **end})
    assert [run.run_id for run in gate_runs(history.entries)] == [first, second]


def test_an_end_that_says_little_is_read_as_the_worse_case(history: History) -> None:
    history.add("gate_ended", gate="gate1", run_id="x", verdict="passed", commit=None, stack=None)
    run = gate_runs(history.entries)[0]
    assert (run.rehearsal, run.commit_sha, run.commit_dirty) == (True, None, None)
    assert "has not passed" in refusal(history, "gate2", "gate1")
