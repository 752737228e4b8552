"""stack.plan: the same arguments give byte-identical submissions (P3)."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cli import UsageError
from stack.load import load_stack
from stack.plan import plan_jobs, submissions_sha256

STACK = load_stack(Path(__file__).resolve().parents[2] / "compose/reference/stack.yaml", {})
WORKLOAD = STACK.workload


@given(st.integers(1, 200))
def test_the_same_arguments_give_the_same_bytes(count: int) -> None:
    first, second = (plan_jobs(WORKLOAD, count, "local") for _ in range(2))
    assert first == second
    assert submissions_sha256(first) == submissions_sha256(second)


@given(st.integers(1, 100), st.integers(1, 100))
def test_a_shorter_plan_is_the_start_of_a_longer_one(one: int, other: int) -> None:
    short, long = sorted((one, other))
    assert plan_jobs(WORKLOAD, long, "local")[:short] == plan_jobs(WORKLOAD, short, "local")


def test_twenty_jobs_have_the_bytes_they_always_had() -> None:
    """A change of these bytes is a change of the contract: every earlier run differs from it."""
    plan = plan_jobs(WORKLOAD, 20, "local")
    expected = "64445fd1853487162c3475d87c24dd249371c93dae79cbf13542d98159f40401"
    assert submissions_sha256(plan) == expected


@given(st.integers(9, 300))
def test_targets_go_round_and_strategies_spread(count: int) -> None:
    jobs = plan_jobs(WORKLOAD, count, "local")
    names = [target.name for target in WORKLOAD.targets["local"]]
    assert [job.target for job in jobs] == [names[index % 3] for index in range(count)]
    spread = Counter(job.strategy for job in jobs)
    assert max(spread.values()) - min(spread.values()) <= 3
    assert len({(job.strategy, job.target) for job in jobs}) == 9


def test_all_priorities_occur() -> None:
    jobs = plan_jobs(WORKLOAD, 30, "local")
    assert {job.priority for job in jobs} == {"low", "normal", "high"}


def test_numbers_stay_numbers_in_the_body() -> None:
    body = json.loads(plan_jobs(WORKLOAD, 5, "local")[4].body)
    assert body["sequence"] == 4


def test_public_targets_are_the_three_of_p4() -> None:
    """P4."""
    hosts = {
        json.loads(job.body)["target"].split("/")[2] for job in plan_jobs(WORKLOAD, 9, "public")
    }
    assert hosts == {"example.com", "httpbin.org", "jsonplaceholder.typicode.com"}


def test_an_unknown_target_set_or_strategy_is_refused() -> None:
    with pytest.raises(UsageError, match="expected one of local, public, got 'moon'"):
        plan_jobs(WORKLOAD, 1, "moon")
    with pytest.raises(UsageError, match="got 'brute'"):
        plan_jobs(WORKLOAD, 1, "local", ["vanilla", "brute"])


def test_chosen_strategies_are_the_only_ones() -> None:
    assert {job.strategy for job in plan_jobs(WORKLOAD, 12, "local", ["stealth"])} == {"stealth"}
