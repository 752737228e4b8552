"""detectors.restarts, where mutants lived: what a person reads, and every look counts (H8)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding
from detectors.restarts import GONE, Identity, judge_restarts

PROCESS = Identity(pid=10, birth="100.5")
CONTAINER = Identity(container_id="c1", started_at="then", restart_count=0)


def looks(*identities: Identity | None) -> Finding:
    return judge_restarts("a", [(60.0 * index, who) for index, who in enumerate(identities)])


def test_a_pass_says_how_often_it_was_seen() -> None:
    text = "expected no restart, got the same identity in 3 of 5 looks"
    figures = {"looks": 5, "unseen": 2, "restarts": 0}
    found = looks(PROCESS, None, PROCESS, None, PROCESS)
    assert found == Finding("restart", "a", PASSED, text, None, figures)


@pytest.mark.parametrize(
    ("identities", "seen"),
    [
        ((None, PROCESS, PROCESS, None, PROCESS), 3),  # seen later changes nothing of the start
        ((PROCESS, PROCESS, None), 2),
        ((PROCESS,), 1),
        ((), 0),
    ],
)
def test_what_is_not_judged_says_what_it_needs(
    identities: tuple[Identity | None, ...], seen: int
) -> None:
    count = len(identities)
    text = (
        "expected to know who it was at the first and the last of two looks or more, "
        f"got it in {seen} of {count}"
    )
    figures = {"looks": count, "unseen": count - seen, "restarts": 0}
    assert looks(*identities) == Finding("restart", "a", NOT_JUDGED, text, None, figures)


def test_two_looks_are_enough() -> None:
    assert looks(PROCESS, PROCESS).outcome == PASSED


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (PROCESS, Identity(pid=11, birth="7"), "pid 10 → 11, birth 100.5 → 7"),
        (PROCESS, CONTAINER, "another kind"),
        (PROCESS, GONE, "gone"),
        (None, GONE, "gone"),
    ],
)
def test_a_restart_says_all_that_changed(
    before: Identity | None, after: Identity, what: str
) -> None:
    found = looks(before, after)
    figures = {"looks": 2, "unseen": 1 if before is None else 0, "restarts": 1}
    text = f"expected no restart, got 1: {what} at 60 s"
    assert found == Finding("restart", "a", FAILED, text, 60.0, figures)


@pytest.mark.parametrize("known", [PROCESS, CONTAINER])
def test_the_same_birth_or_start_is_the_same_life_whatever_else_is_known(known: Identity) -> None:
    more = replace(known, pid=10, birth="100.5", container_id="c1", started_at="then")
    assert looks(known, more, known).outcome == PASSED
