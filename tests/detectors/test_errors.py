"""detectors.errors: the ratio where it can be shown, and bursts that chance does not make."""

from __future__ import annotations

import pytest

from detectors.errors import ErrorWindow, judge_bursts, judge_errors
from detectors.finding import FAILED, NOT_JUDGED, PASSED


@pytest.mark.parametrize(
    ("requests", "errors", "outcome"),
    [
        (0, 0, NOT_JUDGED),
        (1, 0, NOT_JUDGED),
        (1, 1, FAILED),
        (105, 1, NOT_JUDGED),
        (597, 0, NOT_JUDGED),
        (738, 0, PASSED),
        (598, 3, FAILED),
        (302_400, 1200, PASSED),
        (302_400, 1500, NOT_JUDGED),
        (302_400, 1513, FAILED),
    ],
)
def test_a_pass_needs_samples_and_a_failure_more_than_the_limit(
    requests: int, errors: int, outcome: str
) -> None:
    found = judge_errors("a", requests, errors)
    assert found.outcome == outcome
    assert found.figures["requests"] == requests
    assert "expected" in found.detail


def test_the_interval_is_printed() -> None:
    found = judge_errors("a", 302_400, 302)
    assert "95 % interval 0.089% to 0.112%" in found.detail


def test_a_run_that_goes_on_fails_when_its_whole_budget_is_spent() -> None:
    """Early on every ratio is exceeded by chance now and then."""
    assert judge_errors("a", 2000, 20, planned=302_400).outcome == NOT_JUDGED
    assert judge_errors("a", 20_000, 1512, planned=302_400).outcome == NOT_JUDGED
    assert judge_errors("a", 20_000, 1513, planned=302_400).outcome == FAILED
    assert judge_errors("a", 2000, 20, planned=2000).outcome == FAILED


@pytest.mark.parametrize(("requests", "errors"), [(0, 1), (5, 6), (5, -1)])
def test_impossible_counts_are_a_bug(requests: int, errors: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        judge_errors("a", requests, errors)


def minutes(errors: dict[int, int], count: int = 2880, requests: int = 105) -> list[ErrorWindow]:
    return [ErrorWindow(60.0 * index, requests, errors.get(index, 0)) for index in range(count)]


def test_an_even_run_has_no_burst() -> None:
    found = judge_bursts("a", minutes(dict.fromkeys(range(0, 2880, 10), 1)))
    assert found.outcome == PASSED
    assert found.figures["errors"] == 288


def test_one_percent_for_an_hour_is_a_burst_also_where_the_whole_run_is_fine() -> None:
    errors = dict.fromkeys(range(1000, 1060), 1)
    found = judge_bursts("a", minutes(errors))
    assert found.outcome == FAILED
    assert judge_errors("a", 302_400, 60).outcome == PASSED
    assert found.at_seconds is not None
    assert 900 * 60 <= found.at_seconds <= 1060 * 60


def test_one_minute_of_nothing_but_errors_is_a_burst() -> None:
    assert judge_bursts("a", minutes({2000: 105})).outcome == FAILED


def test_outages_do_not_excuse_each_other() -> None:
    """As clumps they would look normal; ten of them are still below 0.5 % of the run."""
    errors = dict.fromkeys(range(100, 2880, 280), 105)
    assert judge_errors("a", 302_400, sum(errors.values())).outcome == PASSED
    assert judge_bursts("a", minutes(errors)).outcome == FAILED


def test_a_few_errors_in_a_minute_are_no_burst() -> None:
    assert judge_bursts("a", minutes({1000: 4})).outcome == PASSED


def test_errors_from_the_first_minute_on_are_found() -> None:
    assert judge_bursts("a", minutes(dict.fromkeys(range(10), 105), count=10)).outcome == FAILED


@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_requests_are_not_judged(count: int) -> None:
    found = judge_bursts("a", minutes({0: 105}, count=count))
    assert found.outcome == NOT_JUDGED
    assert "expected at least 598 requests" in found.detail


def test_one_window_is_enough_where_it_holds_enough() -> None:
    assert judge_bursts("a", [ErrorWindow(0, 1000, 0)]).outcome == PASSED
    assert judge_bursts("a", [ErrorWindow(0, 1000, 100)]).outcome == FAILED


def test_windows_without_requests_are_fine() -> None:
    rows = [ErrorWindow(0, 0, 0), *minutes({}, count=20)]
    assert judge_bursts("a", rows).outcome == PASSED


def test_more_errors_than_requests_is_a_bug() -> None:
    with pytest.raises(ValueError, match="no more errors"):
        judge_bursts("a", [ErrorWindow(0, 1, 2)])
