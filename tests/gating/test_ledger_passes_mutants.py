"""gating.ledger_passes, where mutants lived: runs that overlap count by their ends (H8, G7)."""

from __future__ import annotations

from typing import Any

import pytest
from ledgers import BROKEN, COMMIT, CONTRACT, OTHER_COMMIT, STACK, History, envelope

from gating.ledger_passes import Subject, why_not_passed
from gating.ledger_runs import ended_fields

SUBJECT = Subject(COMMIT, CONTRACT, STACK, arguments="--stack my.yaml")


@pytest.fixture
def history() -> History:
    return History()


def end(history: History, run_id: str, verdict: str, **facts: Any) -> None:
    """The end of a run that began earlier."""
    more: dict[str, Any] = {"rehearsal": False, "reservations": (), "manifest_sha256": None}
    fields = ended_fields("gate1", run_id, envelope(**facts), verdict=verdict, **more)
    history.add("gate_ended", **fields)


def why(history: History) -> tuple[str, str]:
    found = why_not_passed(history.entries, "gate1", SUBJECT)
    assert found is not None
    return found


def test_the_command_that_helps_has_the_arguments(history: History) -> None:
    command = '`make gate1 ARGS="--stack my.yaml"`'
    assert why(history) == ("gate1 has not passed on commit aaaaaaa", f"run {command}")
    history.run("gate1", "passed")
    assert why_not_passed(history.entries, "gate1", SUBJECT) is None
    failed = history.run("gate1", "failed", commit=OTHER_COMMIT)
    assert why(history) == (
        f"gate1 has failed since it passed (run {failed} on 1234abc)",
        f"resolve it, then run {command}",
    )


def test_of_passes_elsewhere_the_one_that_ended_last_is_named(history: History) -> None:
    first = history.start("gate1", commit=OTHER_COMMIT)
    history.run("gate1", "passed", commit=BROKEN)
    end(history, first, "passed", commit=OTHER_COMMIT)
    assert why(history)[0] == "gate1 has not passed on commit aaaaaaa: it passed on 1234abc"


def test_of_failures_since_the_pass_the_one_that_ended_last_is_named(history: History) -> None:
    history.run("gate1", "passed")
    first = history.start("gate1", commit=OTHER_COMMIT)
    history.run("gate1", "failed", commit=BROKEN)
    end(history, first, "failed", commit=OTHER_COMMIT)
    assert f"(run {first} on 1234abc)" in why(history)[0]
