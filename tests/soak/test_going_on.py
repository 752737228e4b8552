"""A soak that was cut off: the user's own command goes on, and what that is good for is said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from soak.clock import Moment
from soak.folder import SoakFolder
from soak.going_on import broken_span_of, prospect_of, resume_command
from soak.header import Header
from soak.spans import Piece

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUN = "20261121-120000"
HEADER = Header(RUN, "fake", "aa", "cc", "1234", False, "process", 1000.0, 1.0, "aiohttp")  # noqa: FBT003 - commit_dirty
PIECE = Piece(1, 0.0, 600.0, "boot", {"front": "1@a"}, {"front": "1@a"}, ended="interrupted")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SoakFolder]:
    made = SoakFolder.create(tmp_path, HEADER, Moment("boot", 0.0, 0.0))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("run_soak.py --duration 80s", f"run_soak.py --duration 80s --resume {RUN}"),
        ("run_soak.py --resume X --live", f"run_soak.py --live --resume {RUN}"),
        ("run_soak.py --resume=X", f"run_soak.py --resume {RUN}"),
        ("run_gate.py gate2", f"run_gate.py gate2 -- --resume {RUN}"),
        (
            "run_gate.py gate2 --rehearse -- --duration 5m --resume X",
            f"run_gate.py gate2 --rehearse -- --duration 5m --resume {RUN}",
        ),
    ],
)
def test_the_command_is_the_one_that_was_given(typed: str, expected: str) -> None:
    words = ["python", *f"scripts/{typed}".split()]
    assert resume_command(words, RUN) == f"python scripts/{expected}"


def test_a_path_with_a_space_stays_one_word() -> None:
    assert "'/a b/stack.yaml'" in resume_command(["python", "x", "--stack", "/a b/stack.yaml"], RUN)


def test_before_anything_was_lost_it_can_still_pass(folder: SoakFolder) -> None:
    assert prospect_of(folder.pieces(), folder.header.seconds).startswith(
        "that can still pass: 0:16:40 without a break"
    )


def test_after_a_break_it_only_completes_the_measurement(folder: SoakFolder) -> None:
    folder.write_piece(PIECE)
    assert prospect_of(folder.pieces(), folder.header.seconds) == (
        "that completes the measurement, but can't pass any more: at most "
        "0:10:00 of 0:16:40 could be unbroken; for a pass start a new soak"
    )


def test_a_broken_span_says_how_long_and_when_nobody_looked(folder: SoakFolder) -> None:
    folder.write_piece(PIECE)
    folder.write_piece(replace(PIECE, number=2, begin_seconds=640.0, end_seconds=1040.0))
    said = broken_span_of(folder)
    assert said
    assert said.startswith("not observed for 40 s, from 0:10:00 to 0:10:40 (the harness was gone;")
    assert "the longest unbroken span is 0:10:00 and can no longer reach 0:16:40" in said
    assert "a broken span can't pass: start a new soak" in said


def test_of_several_gaps_the_longest_is_named(folder: SoakFolder) -> None:
    folder.write_piece(replace(PIECE, sleeps=((100.0, 120.0), (200.0, 260.0))))
    said = broken_span_of(folder)
    assert said
    assert "for 60 s, from 0:03:20 to 0:04:20 (and 1 shorter gaps)" in said


def test_a_whole_span_says_nothing(folder: SoakFolder) -> None:
    folder.write_piece(replace(PIECE, end_seconds=1000.0))
    assert broken_span_of(folder) is None
