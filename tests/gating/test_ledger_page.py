"""gating.ledger_page: each status in its word, and no text that breaks out of its cell."""

from __future__ import annotations

from typing import Any

import pytest
from ledgers import COMMIT, CONTRACT, OTHER_COMMIT, History

from gating.ledger_page import gate_status, log_rows, markdown_table, text_table


@pytest.fixture
def history() -> History:
    return History()


def status(history: History, *, alive: bool = False) -> str:
    return row(history, alive=alive)[0]


def row(history: History, *, alive: bool = False) -> tuple[str, str, str, str]:
    found = gate_status(history.entries, "gate1", "go on", is_alive=lambda _pid, _birth: alive)
    assert found.next_step == "go on"
    assert found.runtime == ("process" if found.run_id else "")
    return found.status, found.run_id, found.commit, found.date_utc


def test_a_gate_without_a_run_says_so(history: History) -> None:
    history.run("gate2", "passed")
    assert row(history) == ("not run", "", "", "")


def test_the_row_names_run_commit_and_date(history: History) -> None:
    run_id = history.run("gate1", "passed")
    assert row(history) == ("passed", run_id, "aaaaaaa", "2026-01-01")
    history.run("gate1", "failed", dirty=True)
    assert row(history)[2] == "9999999 with changes"
    history.run("gate1", "failed", commit=None, dirty=None)
    assert row(history)[2] == "unknown"


def test_the_newest_run_that_counts_decides(history: History) -> None:
    history.run("gate1", "passed")
    history.run("gate1", "failed")
    history.run("gate1", "passed", rehearsal=True)
    history.run("gate1", "inconclusive")
    history.start("gate1")
    assert status(history) == "failed"
    assert status(history, alive=True) == "running"


@pytest.mark.parametrize("verdict", ["passed", "failed", "inconclusive"])
def test_rehearsals_alone_are_named_so(verdict: str, history: History) -> None:
    history.run("gate1", verdict, rehearsal=True)
    assert status(history) == "rehearsed only"


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"reservations": ("shortened: 1 h",)}, "shortened: 1 h"),
        ({"commit": None, "dirty": None}, "no commit is known"),
        ({"dirty": True}, "the working tree had changes"),
        ({"dirty": None}, "the working tree had changes"),
        ({"kit_dirty": True}, "the Proof Pack had changes"),
        ({"kit": None, "kit_dirty": None}, "the commit of the Proof Pack is not known"),
    ],
)
def test_a_pass_that_does_not_count_says_why(
    facts: dict[str, Any], why: str, history: History
) -> None:
    history.run("gate1", "passed", **facts)
    assert status(history) == f"passed, does not count: {why}"
    history.run("gate1", "passed")
    history.run("gate1", "passed", **facts)
    assert status(history) == "passed"


def test_the_runtime_is_shown(history: History) -> None:
    history.run("gate1", "passed", runtime="compose")
    assert gate_status(history.entries, "gate1", "").runtime == "compose"


def test_a_cause_that_was_replaced_stays_and_says_so(history: History) -> None:
    failed = history.run("gate1", "failed")
    for fix in (OTHER_COMMIT, COMMIT, COMMIT):
        history.resolve("gate1", failed, fix=fix)
    assert [found[-1] for found in log_rows(history.entries)[2:]] == [
        "root cause: a leak; fixed by 1234abc (replaced by entry 4)",
        "root cause: a leak; fixed by aaaaaaa (replaces entry 3) (replaced by entry 5)",
        "root cause: a leak; fixed by aaaaaaa (replaces entry 4)",
    ]


def test_an_abandoned_run_is_shown(history: History) -> None:
    history.start("gate1")
    assert status(history) == "abandoned"
    history.run("gate1", "inconclusive")
    assert status(history) == "inconclusive"


def test_the_log_has_every_entry_in_words(history: History) -> None:
    failed = history.run("gate1", "failed", reservations=("shortened: 1 h",))
    history.resolve("gate1", failed, fix=OTHER_COMMIT)
    history.remediate("gate1", failed)
    history.start("gate1", rehearsal=True)
    history.add("contract", stack="mine", version=2, sha256=CONTRACT)
    history.add("unheard_of", colour="red")
    rows = log_rows(history.entries, lambda _pid, _birth: False)
    assert [found[0] for found in rows] == [str(number) for number in range(1, 8)]
    assert [found[-1] for found in rows] == [
        "run on commit 9999999",
        "run failed on commit 9999999 (shortened: 1 h)",
        "root cause: a leak; fixed by 1234abc",
        "examined: all; changes: much; by: Ann",
        "rehearsal on commit aaaaaaa, abandoned",
        f"mine: version 2 is {CONTRACT}",
        "colour: red",
    ]
    assert log_rows(history.entries, lambda _pid, _birth: True)[4][-1].endswith(", running")


def test_columns_are_aligned() -> None:
    assert text_table(("a", "b"), [("long", "x"), ("s", "")]) == "a     b\nlong  x\ns"


def test_no_text_steers_a_terminal_or_breaks_a_row() -> None:
    nasty = "a\x1b[31m\nb\u202ec\x9b\u2028d"
    assert text_table(("x",), [(nasty,)]) == "x\na [31m b c d"
    assert markdown_table(("x",), [(nasty,)]).count("\n") == 2


def test_no_text_breaks_out_of_a_markdown_cell() -> None:
    table = markdown_table(("x",), [("|<img src=x>`[a](b)*_",)])
    assert table.splitlines()[2] == r"| \|\<img src=x\>\`\[a\](b)\*\_ |"
