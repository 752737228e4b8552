"""stack.figures: exact percentiles, and no figure without a sample."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.figures import job_figures, percentiles
from stack.jobs import JobRun
from stack.plan import Job

SECONDS = st.lists(st.floats(0, 1000), min_size=1, max_size=300)


def runs(*statuses: str) -> list[JobRun]:
    return [JobRun(Job(n, "s", "p", "t", b""), status=status) for n, status in enumerate(statuses)]


@given(SECONDS)
def test_a_percentile_is_a_sample_that_enough_samples_do_not_exceed(samples: list[float]) -> None:
    found = percentiles(samples)
    assert found
    for percent in (50, 95, 99):
        value = found[f"p{percent}_ms"]
        at_most = sum(round(sample * 1000, 3) <= value for sample in samples)
        assert at_most * 100 >= percent * len(samples)
        assert any(round(sample * 1000, 3) == value for sample in samples)


def test_the_figures_of_one_to_a_hundred_are_known() -> None:
    found = percentiles([n / 1000 for n in range(1, 101)])
    assert found == {"count": 100, "p50_ms": 50, "p95_ms": 95, "p99_ms": 99, "max_ms": 100}


def test_no_sample_gives_no_figure() -> None:
    assert percentiles([]) is None
    assert percentiles([None, None]) is None


@pytest.mark.parametrize(
    ("statuses", "ratio"),
    [
        (["completed", "failed"], 0.5),
        (["failed"], 1.0),
        (["completed", "timed_out", "not_submitted"], 0.0),
        (["timed_out", "pending"], None),
    ],
)
def test_the_failed_ratio_counts_jobs_that_ended(statuses: list[str], ratio: float | None) -> None:
    figures = job_figures(runs(*statuses), "0" * 64)
    assert figures["failed_ratio"] == ratio
    assert figures["planned"] == len(statuses)
