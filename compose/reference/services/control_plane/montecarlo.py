"""A seeded Monte Carlo over a small workflow: the same seed gives the same report.

Only integers are counted and compared: sums of floats differ between machines.
"""

from __future__ import annotations

import platform
import random
from dataclasses import dataclass

PER_MILLE = 1000
PER_MILLION = 1_000_000


@dataclass(frozen=True)
class Step:
    """One step of the workflow, with chances in per mille and its cost in cents."""

    name: str
    succeeds: int
    policy_allows: int
    retries: int
    least_cents: int
    most_cents: int


# A research workflow as the agents run it: gather, read, draft, check, publish.
WORKFLOW = (
    Step("ingest", succeeds=985, policy_allows=999, retries=2, least_cents=1, most_cents=3),
    Step("research", succeeds=930, policy_allows=990, retries=2, least_cents=8, most_cents=30),
    Step("draft", succeeds=960, policy_allows=985, retries=1, least_cents=10, most_cents=24),
    Step("review", succeeds=940, policy_allows=970, retries=1, least_cents=4, most_cents=9),
    Step("publish", succeeds=980, policy_allows=980, retries=2, least_cents=1, most_cents=2),
)


def simulate(seed: int, iterations: int) -> dict[str, object]:
    """Run the workflow `iterations` times.

    Source: C2.
    """
    # Not for secrets: a simulation has to give the same numbers again.
    generator = random.Random(seed)  # noqa: S311
    failures = {step.name: 0 for step in WORKFLOW}
    denials = dict(failures)
    completed = retries = cents = 0
    for _ in range(iterations):
        for step in WORKFLOW:
            if generator.randrange(PER_MILLE) >= step.policy_allows:
                denials[step.name] += 1
                break
            used, spent = _attempts(step, generator)
            retries += min(used, step.retries)
            cents += spent
            if used > step.retries:
                failures[step.name] += 1
                break
        else:
            completed += 1
    passed_policy = iterations - sum(denials.values())
    return {
        "seed": seed,
        "iterations": iterations,
        "generator": "MT19937",
        "library": "random.Random",
        "library_version": platform.python_version(),
        "runtime": f"{platform.python_implementation()} {platform.python_version()}",
        "completed": completed,
        "completed_per_million": completed * PER_MILLION // iterations,
        "passed_policy": passed_policy,
        "passed_policy_per_million": passed_policy * PER_MILLION // iterations,
        "failures": failures,
        "denials": denials,
        "retries": retries,
        "cost_cents": cents,
    }


def _attempts(step: Step, generator: random.Random) -> tuple[int, int]:
    """How many attempts failed (more than `retries`: all of them), and what they cost."""
    cents = 0
    for failed in range(step.retries + 1):
        cents += generator.randint(step.least_cents, step.most_cents)
        if generator.randrange(PER_MILLE) < step.succeeds:
            return failed, cents
    return step.retries + 1, cents
