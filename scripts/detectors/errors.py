"""Errors: the ratio of the whole run with its interval, and bursts inside it.

One error in 105 requests is 0.95 %, so the limit of 0.5 % is asked of the whole run and of
windows with enough samples, never of a minute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from operator import sub
from typing import TYPE_CHECKING

from detectors.bounds import binomial_tail, interval_of, trials_to_show
from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT, GOAL = 0.005, 0.001
# The chance that a run without a burst shows one, over all windows that were looked at.
BURST_CHANCE = 0.0005
# A short run looks at few windows now and at more later: it pays for those from the start.
BURST_MINIMUM_LOOKS = 1000
# Errors come in clumps (one stall, three time-outs), so fewer things went wrong than errors
# were counted. No more than this many are one, or ten outages would excuse each other.
BURST_CLUMP = 4.0


@dataclass(frozen=True)
class ErrorWindow:
    """What was due in one short window, a minute say, and how much of it went wrong."""

    begin_seconds: float
    requests: int
    errors: int


def judge_errors(
    subject: str,
    requests: int,
    errors: int,
    *,
    limit: float = LIMIT,
    planned: int | None = None,
) -> Finding:
    """The error ratio against its limit: a pass only where the samples can show it.

    Args:
        subject: the run, or one service/route.
        requests: how many were due so far.
        errors: how many of them had no right answer in time.
        limit: the highest ratio.
        planned: the whole run's requests, while it is still going on: then only more
            errors than the whole run may have are a failure, because every other ratio
            is sometimes exceeded by chance early on.

    Raises:
        ValueError: more errors than requests.

    Source:
        G2 (0.5 %, goal 0.1 %).
    """
    figures: dict[str, float | int | None] = {"requests": requests, "errors": errors}
    enough = trials_to_show(limit)
    if requests == 0 and errors == 0:
        detail = f"expected at least {enough} requests, got 0"
        return Finding("errors", subject, NOT_JUDGED, detail, None, figures)
    low, high = interval_of(errors, requests)
    figures |= {"ratio": errors / requests, "ratio_low": low, "ratio_high": high}
    detail = (
        f"expected an error ratio of at most {limit:.3%}, got {errors / requests:.3%} "
        f"({errors} of {requests:,}; 95 % interval {low:.3%} to {high:.3%})"
    )
    whole = max(requests, planned or requests)
    running = requests < whole
    if errors > limit * whole and (running or requests >= enough or low > limit):
        return Finding("errors", subject, FAILED, detail, None, figures)
    if high > limit:
        return Finding("errors", subject, NOT_JUDGED, f"{detail}: too few to tell", None, figures)
    return Finding("errors", subject, PASSED, detail, None, figures)


def judge_bursts(
    subject: str,
    windows: Sequence[ErrorWindow],
    *,
    limit: float = LIMIT,
    goal: float = GOAL,
) -> Finding:
    """Whether a part of the run was over the limit, and not by chance.

    Looks at runs of 1, 2, 4, … windows that hold enough requests to show the limit, half
    overlapping. A burst is over the limit and, by exact binomial tests corrected for the
    number of looks, over the goal and over the rest of the run.

    Args:
        subject: the run, or one service/route.
        windows: in order of time; pieces with a gap between them follow each other.
        limit: the ratio that a part must exceed.
        goal: the ratio that is normal.

    Raises:
        ValueError: a window with more errors than requests.
    """
    run = _Run(windows, limit, goal)
    figures: dict[str, float | int | None] = {
        "requests": run.requests[-1],
        "errors": run.errors[-1],
    }
    enough = trials_to_show(limit)
    looks, worst, suspects = run.over_the_limit(enough)
    if not looks:
        detail = f"expected at least {enough} requests, got {run.requests[-1]}"
        return Finding("error_burst", subject, NOT_JUDGED, detail, None, figures)
    figures |= {"looks": looks, "worst_ratio": worst}
    chance, look = min(((run.chance(look), look) for look in suspects), default=(1.0, (0, 0)))
    if chance >= BURST_CHANCE / max(looks, BURST_MINIMUM_LOOKS):
        detail = (
            f"expected no part of {enough} requests or more over {limit:.1%} but by chance, "
            f"got none in {looks} looks (the worst had {worst:.3%})"
        )
        return Finding("error_burst", subject, PASSED, detail, None, figures)
    requests, errors = run.inside(look)
    first, last = windows[look[0]].begin_seconds, windows[look[1] - 1].begin_seconds
    detail = (
        f"expected at most {limit:.1%} of errors in every part, got {errors / requests:.2%} "
        f"({errors} of {requests:,}) in the windows from {first:g} to {last:g} s "
        f"(by chance: {chance:.1e})"
    )
    figures |= {"burst_requests": requests, "burst_errors": errors, "chance": chance}
    return Finding("error_burst", subject, FAILED, detail, first, figures)


class _Run:
    """Sums up to each window, so that any part costs two subtractions."""

    def __init__(self, windows: Sequence[ErrorWindow], limit: float, goal: float) -> None:
        requests, errors = [row.requests for row in windows], [row.errors for row in windows]
        if any(not 0 <= row.errors <= row.requests for row in windows):
            raise ValueError("expected windows with no more errors than requests")
        squares = [row.errors and row.errors**2 / row.requests for row in windows]
        self.requests = [0, *accumulate(requests)]
        self.errors = [0, *accumulate(errors)]
        self._squares = [0.0, *accumulate(squares)]
        self._limit, self._goal = limit, goal

    def inside(self, look: tuple[int, int]) -> tuple[int, int]:
        """The requests and errors of a part."""
        begin, end = look
        return self.requests[end] - self.requests[begin], self.errors[end] - self.errors[begin]

    def over_the_limit(self, enough: int) -> tuple[int, float, list[tuple[int, int]]]:
        """How many parts hold enough requests, their worst ratio, and those over the limit.

        Parts are 1, 2, 4, … windows long and overlap by half; the last one is the whole.
        """
        count, worst, over = 0, 0.0, []
        total = len(self.requests) - 1
        widths = [1 << power for power in range((total - 1).bit_length())]
        for width in (*widths, total) if total else ():
            step = (width + 1) // 2
            # Slices and `map` keep this quick: a soak asks again and again.
            requests = list(map(sub, self.requests[width::step], self.requests[::step]))
            if max(requests) < enough:
                continue
            errors = map(sub, self.errors[width::step], self.errors[::step])
            for index, (due, wrong) in enumerate(zip(requests, errors, strict=True)):
                if due < enough:
                    continue
                count += 1
                worst = max(worst, wrong / due)
                if wrong > self._limit * due:
                    over.append((index * step, index * step + width))
        return count, worst, over

    def chance(self, look: tuple[int, int]) -> float:
        """How probable so many errors are in a part that is no burst."""
        requests, errors = self.inside(look)
        others, wrong = self.requests[-1] - requests, self.errors[-1] - errors
        if others < requests:  # too short a rest to say what is normal
            return binomial_tail(errors, requests, self._limit)
        clump = self._clump(look, others, wrong)
        things, all_things = math.ceil(errors / clump), math.ceil((errors + wrong) / clump)
        expected = all_things * requests / self.requests[-1]
        if things <= expected + 3 * math.sqrt(expected):
            return 1.0  # nothing rare, and the exact chance takes its time
        # Of all that went wrong, so much of it here; a rest without errors is no excuse
        # to call a few errors a burst, so they must be too many for the goal as well.
        here = binomial_tail(things, all_things, requests / self.requests[-1])
        return max(here, binomial_tail(things, math.ceil(requests / clump), self._goal))

    def _clump(self, look: tuple[int, int], others: int, wrong: int) -> float:
        """How many errors come at once outside: Pearson's dispersion, at least 1."""
        begin, end = look
        count = len(self._squares) - 1 - (end - begin)
        if not wrong or not count:
            return 1.0
        squares = self._squares[-1] - (self._squares[end] - self._squares[begin])
        return min(BURST_CLUMP, max(1.0, (squares * others / wrong - wrong) / count))
