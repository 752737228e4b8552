"""detectors.errors, where mutants lived: limits to the error, exact chances, what is read (H8)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from detectors import errors
from detectors.bounds import binomial_tail, interval_of
from detectors.errors import ErrorWindow, judge_bursts, judge_errors
from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding


def windows(*rows: tuple[int, int]) -> list[ErrorWindow]:
    """Minutes of (requests, errors)."""
    return [ErrorWindow(60.0 * index, *row) for index, row in enumerate(rows)]


def exactly(value: Any) -> Any:
    """Figures as small as chances have no absolute tolerance."""
    return pytest.approx(value, rel=1e-9, abs=0)


def test_no_request_at_all_says_how_many_it_takes() -> None:
    figures = {"requests": 0, "errors": 0}
    text = "expected at least 598 requests, got 0"
    assert judge_errors("run", 0, 0) == Finding("errors", "run", NOT_JUDGED, text, None, figures)


@pytest.mark.parametrize(
    ("requests", "wrong", "outcome", "text"),
    [
        (1000, 0, PASSED, "0.000% (0 of 1,000; 95 % interval 0.000% to 0.368%)"),
        (1000, 50, FAILED, "5.000% (50 of 1,000; 95 % interval 3.734% to 6.539%)"),
        (
            105,
            1,
            NOT_JUDGED,
            "0.952% (1 of 105; 95 % interval 0.024% to 5.192%): too few to tell",
        ),
    ],
)
def test_each_outcome_has_the_same_figures(
    requests: int, wrong: int, outcome: str, text: str
) -> None:
    low, high = interval_of(wrong, requests)
    figures = {"requests": requests, "errors": wrong, "ratio": wrong / requests}
    figures |= {"ratio_low": low, "ratio_high": high}
    detail = f"expected an error ratio of at most 0.500%, got {text}"
    assert judge_errors("run", requests, wrong) == Finding(
        "errors", "run", outcome, detail, None, figures
    )


def test_exactly_the_limit_is_no_failure() -> None:
    assert judge_errors("a", 1000, 5).outcome == NOT_JUDGED
    assert judge_errors("a", 1000, 6).outcome == FAILED


def test_an_interval_that_begins_at_the_limit_shows_no_failure_of_a_few() -> None:
    low, _ = interval_of(3, 10)
    assert judge_errors("a", 10, 3, limit=low).outcome == NOT_JUDGED
    assert judge_errors("a", 10, 3, limit=low - 1e-6).outcome == FAILED


def test_an_interval_that_ends_at_the_limit_passes() -> None:
    _, high = interval_of(0, 10)
    assert judge_errors("a", 10, 0, limit=high).outcome == PASSED
    assert judge_errors("a", 10, 0, limit=high - 1e-6).outcome == NOT_JUDGED


@pytest.mark.parametrize("planned", [None, 0, 99, 100])
def test_a_short_run_that_is_over_is_judged_by_its_interval(planned: int | None) -> None:
    assert judge_errors("a", 100, 1, planned=planned).outcome == NOT_JUDGED


def test_a_run_with_one_request_to_go_still_goes_on() -> None:
    assert judge_errors("a", 199, 1, planned=200).outcome == NOT_JUDGED
    assert judge_errors("a", 199, 2, planned=200).outcome == FAILED


def test_a_window_may_be_all_errors_and_no_more() -> None:
    for row in ((1, 2), (0, 1), (5, -1)):
        with pytest.raises(
            ValueError, match=r"^expected windows with no more errors than requests$"
        ):
            judge_bursts("a", windows((1000, 0), row))
    assert judge_bursts("a", windows((1000, 1000))).outcome == FAILED


def test_too_few_requests_are_counted() -> None:
    text = "expected at least 598 requests, got 597"
    assert judge_bursts("run", windows((297, 1), (300, 2))) == Finding(
        "error_burst", "run", NOT_JUDGED, text, None, {"requests": 597, "errors": 3}
    )


def test_no_window_is_no_request() -> None:
    assert judge_bursts("a", []).detail == "expected at least 598 requests, got 0"


def test_598_requests_are_one_look() -> None:
    figures = {"requests": 598, "errors": 0, "looks": 1, "worst_ratio": 0.0}
    text = (
        "expected no part of 598 requests or more over 0.5% but by chance, "
        "got none in 1 looks (the worst had 0.000%)"
    )
    assert judge_bursts("run", windows((598, 0))) == Finding(
        "error_burst", "run", PASSED, text, None, figures
    )


@pytest.mark.parametrize(
    ("count", "looks"),
    [(1, 1), (2, 3), (3, 6), (4, 8), (5, 11), (6, 14), (8, 8 + 7 + 3 + 1), (9, 9 + 8 + 3 + 1 + 1)],
)
def test_parts_are_1_2_4_windows_overlap_by_half_and_end_with_the_whole(
    count: int, looks: int
) -> None:
    """Of three: three of one, two of two, the whole; of two the whole is the only one of two."""
    assert judge_bursts("a", windows(*[(1000, 0)] * count)).figures["looks"] == looks


def test_a_part_that_is_too_small_ends_no_look() -> None:
    found = judge_bursts("a", windows((100, 0), (598, 1), (597, 0)))
    # One window alone, both pairs, and the whole.
    assert (found.figures["looks"], found.figures["worst_ratio"]) == (4, 1 / 598)


def test_exactly_the_limit_is_no_burst_however_clean_the_rest_is() -> None:
    assert judge_bursts("a", windows((300_000, 0), (100_000, 500))).outcome == PASSED
    assert judge_bursts("a", windows((300_000, 0), (100_000, 501))).outcome == FAILED


def test_more_than_the_goal_is_no_burst_below_the_limit() -> None:
    assert judge_bursts("a", windows((400_000, 0), (100_000, 300))).outcome == PASSED


def test_over_the_limit_by_chance_is_no_burst() -> None:
    found = judge_bursts("a", windows((1000, 8)))
    assert 0.05 < binomial_tail(8, 1000, 0.005) < 0.5
    assert (found.outcome, found.figures["worst_ratio"]) == (PASSED, 0.008)


def test_a_chance_at_its_bound_is_no_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "BURST_MINIMUM_LOOKS", 1)
    bound = binomial_tail(20, 1000, 0.005)
    monkeypatch.setattr(errors, "BURST_CHANCE", bound)
    assert judge_bursts("a", windows((1000, 20))).outcome == PASSED
    monkeypatch.setattr(errors, "BURST_CHANCE", bound * 1.001)
    assert judge_bursts("a", windows((1000, 20))).outcome == FAILED


def test_a_burst_is_named_with_its_windows_and_its_chance() -> None:
    """Windows 2 and 3 are worst together; the rest is clean: all 70 errors are here."""
    rows = [(1000, 0), (1000, 0), (600, 30), (700, 40), *[(1000, 0)] * 12]
    chance = (1300 / 15_300) ** 70
    assert chance > binomial_tail(70, 1300, 0.001)
    figures = {"requests": 15_300, "errors": 70, "looks": 42, "worst_ratio": 40 / 700}
    figures |= {"burst_requests": 1300, "burst_errors": 70, "chance": chance}
    found = judge_bursts("run", windows(*rows))
    assert found.figures == exactly(figures)
    text = (
        "expected at most 0.5% of errors in every part, got 5.38% (70 of 1,300) in the windows "
        f"from 120 to 180 s (by chance: {chance:.1e})"
    )
    assert (found.detector, found.subject, found.outcome) == ("error_burst", "run", FAILED)
    assert (found.detail, found.at_seconds) == (text, 120.0)


def burst_of(*rows: tuple[int, int]) -> tuple[float | None, float | int | None]:
    found = judge_bursts("a", windows(*rows))
    assert found.outcome == FAILED
    return found.at_seconds, found.figures["chance"]


def test_half_of_the_run_is_rest_enough_to_say_what_is_normal() -> None:
    """The whole is below the limit: the half alone is the burst."""
    here = binomial_tail(800, 800, 0.5)
    assert here > binomial_tail(800, 100_000, 0.001)
    assert burst_of((100_000, 0), (100_000, 800)) == (60.0, exactly(here))


def test_a_rest_shorter_than_the_burst_is_none() -> None:
    assert burst_of((1001, 60), (1000, 0)) == (0.0, exactly(binomial_tail(60, 1001, 0.005)))


def test_errors_that_come_one_by_one_are_each_one_thing() -> None:
    """One in each other window: of 40 + 8 errors, 40 are here, in 1000 of 9000 requests."""
    here = binomial_tail(40, 48, 1000 / 9000)
    expected = max(here, binomial_tail(40, 1000, 0.001))
    rows = [*[(1000, 1)] * 5, (1000, 40), *[(1000, 1)] * 3]
    assert burst_of(*rows) == (300.0, exactly(expected))


QUIET = [(1000, 0), (900, 0), (1100, 1), (1000, 0), (1200, 0), (1000, 5), (800, 0), (1000, 0)]
CLUMPED = [(1000, 4), (900, 7), (1200, 0), (1100, 60), (800, 0), (1000, 1), (700, 0), (1300, 5)]
CLUMPED += QUIET * 2


def test_errors_that_come_in_clumps_are_fewer_things() -> None:
    """Pearson's dispersion of the 23 windows outside: 29 errors of 22,900 requests."""
    outside = [row for row in CLUMPED if row[1] != 60]
    due, wrong = (sum(column) for column in zip(*outside, strict=True))
    pearson = sum((bad - wrong * all_ / due) ** 2 / (wrong * all_ / due) for all_, bad in outside)
    clump = pearson / len(outside)
    assert 2 < clump < 4
    things, both = math.ceil(60 / clump), math.ceil((60 + wrong) / clump)
    here = binomial_tail(things, both, 1100 / (due + 1100))
    goal = binomial_tail(things, math.ceil(1100 / clump), 0.001)
    assert burst_of(*CLUMPED) == (180.0, exactly(max(here, goal)))
    assert here > goal


def test_a_clump_of_a_burst_at_the_beginning_is_of_the_rest_alone() -> None:
    rows = [CLUMPED[3], *CLUMPED[:3], *CLUMPED[4:]]
    assert burst_of(*rows) == (0.0, exactly(burst_of(*CLUMPED)[1]))
    assert burst_of(*rows[1:], rows[0]) == (1380.0, exactly(burst_of(*CLUMPED)[1]))


def test_a_clump_is_no_more_than_four_errors() -> None:
    rows = [(1000, {3: 20, 11: 100}.get(index, 0)) for index in range(20)]
    things, both, share = 25, 30, 1000 / 20_000
    expected = max(binomial_tail(things, both, share), binomial_tail(things, 250, 0.001))
    assert burst_of(*rows) == (660.0, exactly(expected))


def test_nine_errors_at_once_in_a_clean_run_are_a_burst() -> None:
    """So few are expected that far more than three deviations are soon there."""
    rows = [(600, 0)] * 100
    rows[40] = (600, 9)
    assert burst_of(*rows) == (2400.0, exactly(binomial_tail(9, 600, 0.001)))
