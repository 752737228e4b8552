"""detectors.restarts: any change of identity is a restart; nothing seen is not judged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detectors.finding import FAILED, NOT_JUDGED, PASSED
from detectors.restarts import GONE, Identity, RestartWatch, judge_restarts

PROCESS = Identity(pid=10, birth="100.5")
CONTAINER = Identity(container_id="c1", started_at="2026-01-01T00:00:00Z", restart_count=0)


@pytest.mark.parametrize("identity", [PROCESS, CONTAINER])
def test_the_same_identity_at_every_look_passes(identity: Identity) -> None:
    found = judge_restarts("a", [(float(at), identity) for at in range(5)])
    assert found.outcome == PASSED
    assert found.figures == {"looks": 5, "unseen": 0, "restarts": 0}


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (PROCESS, replace(PROCESS, pid=11), "pid 10 → 11"),
        (PROCESS, replace(PROCESS, birth="101.0"), "birth 100.5 → 101.0"),
        (CONTAINER, replace(CONTAINER, restart_count=1), "restart_count 0 → 1"),
        (CONTAINER, replace(CONTAINER, started_at="later"), "started_at"),
        (CONTAINER, replace(CONTAINER, container_id="c2"), "container_id c1 → c2"),
        (PROCESS, CONTAINER, "another kind"),
        (PROCESS, GONE, "gone"),
    ],
)
def test_any_change_fails_with_its_time(before: Identity, after: Identity, what: str) -> None:
    found = judge_restarts("a", [(0.0, before), (60.0, before), (120.0, after), (180.0, after)])
    assert found.outcome == FAILED
    assert found.at_seconds == 120
    assert what in found.detail
    assert found.figures["restarts"] == 1


def test_each_restart_counts_and_the_first_is_named() -> None:
    lives = [replace(PROCESS, pid=pid) for pid in (1, 1, 2, 3)]
    found = judge_restarts("a", list(enumerate(lives)))
    assert found.figures["restarts"] == 2
    assert found.at_seconds == 2


def test_gone_and_back_is_one_restart() -> None:
    found = judge_restarts("a", [(0.0, PROCESS), (1.0, GONE), (2.0, replace(PROCESS, pid=2))])
    assert found.outcome == FAILED
    assert found.figures["restarts"] == 1


def test_gone_at_the_first_look_fails() -> None:
    assert judge_restarts("a", [(0.0, GONE), (1.0, GONE)]).outcome == FAILED


def test_a_look_that_saw_nothing_in_between_is_harmless() -> None:
    found = judge_restarts("a", [(0.0, PROCESS), (1.0, None), (2.0, PROCESS)])
    assert found.outcome == PASSED
    assert found.figures["unseen"] == 1


def test_a_look_that_saw_nothing_hides_no_restart() -> None:
    looks = [(0.0, PROCESS), (1.0, None), (2.0, replace(PROCESS, birth="9"))]
    assert judge_restarts("a", looks).outcome == FAILED


@pytest.mark.parametrize(
    "looks",
    [
        [],
        [(0.0, PROCESS)],
        [(0.0, None), (1.0, PROCESS), (2.0, PROCESS)],
        [(0.0, PROCESS), (1.0, PROCESS), (2.0, None)],
        [(0.0, None), (1.0, None)],
        [(0.0, Identity(pid=1)), (1.0, Identity(pid=1))],
        [(0.0, Identity(container_id="c")), (1.0, Identity(container_id="c"))],
    ],
)
def test_an_identity_that_is_missing_is_not_judged(
    looks: list[tuple[float, Identity | None]],
) -> None:
    """A pid alone comes again, and a container's id survives `docker restart`."""
    assert judge_restarts("a", looks).outcome == NOT_JUDGED


def test_what_only_one_look_could_see_is_no_change() -> None:
    partly = replace(CONTAINER, restart_count=None)
    assert judge_restarts("a", [(0.0, CONTAINER), (1.0, partly)]).outcome == PASSED


def test_the_watch_names_each_service() -> None:
    watch = RestartWatch(["a", "b"])
    watch.saw(0.0, {"a": PROCESS})
    watch.saw(1.0, {"a": PROCESS})
    assert {one.subject: one.outcome for one in watch.check()} == {"a": PASSED, "b": NOT_JUDGED}
