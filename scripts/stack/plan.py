"""The job plan: the same arguments give byte-identical submissions everywhere (P3)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.cli import UsageError
from common.hashing import canonical_json, sha256_bytes
from stack.placeholders import fill_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stack.model import Workload

SEED = 42


@dataclass(frozen=True)
class Job:
    """One planned job; `body` is the exact bytes that are sent."""

    index: int
    strategy: str
    priority: str
    target: str
    body: bytes


def plan_jobs(
    workload: Workload, count: int, targets: str, strategies: Sequence[str] = ()
) -> tuple[Job, ...]:
    """Plan `count` jobs: targets in turn, strategies spread so that all pairs occur.

    The priority comes from `random.Random(42).random()`, whose stream Python
    promises to keep (its `choice` has changed between versions).

    Args:
        workload: the stack file's workload.
        count: number of jobs.
        targets: the name of a target set, such as local or public.
        strategies: a subset to use; empty means all of the stack file's.

    Raises:
        UsageError: an unknown target set or strategy.

    Source: P3.
    """
    if targets not in workload.targets:
        known = ", ".join(workload.targets)
        raise UsageError(f"--targets: expected one of {known}, got {targets!r}")
    for strategy in strategies:
        if strategy not in workload.strategies:
            known = ", ".join(workload.strategies)
            raise UsageError(f"--strategies: expected some of {known}, got {strategy!r}")
    chosen, places = tuple(strategies) or workload.strategies, workload.targets[targets]
    generator = random.Random(SEED)  # noqa: S311 - a reproducible plan, not a secret
    jobs = []
    for index in range(count):
        target = places[index % len(places)]
        # The extra step each round keeps a strategy from always meeting the same target.
        strategy = chosen[(index + index // len(places)) % len(chosen)]
        priority = workload.priorities[int(generator.random() * len(workload.priorities))]
        body = fill_value(
            workload.submit_body,
            {
                "index": index,
                "strategy": strategy,
                "priority": priority,
                "target_url": target.url,
                "target_name": target.name,
            },
        )
        jobs.append(Job(index, strategy, priority, target.name, canonical_json(body)))
    return tuple(jobs)


def submissions_sha256(jobs: Sequence[Job]) -> str:
    """SHA-256 over all bodies in order, each followed by a line feed."""
    return sha256_bytes(b"".join(job.body + b"\n" for job in jobs))
