"""Hangs: requests that are not answered while a health check still says 200.

A thread deadlock and a deadlock of asyncio locks leave `/health` at 200. What they can't
fake is progress: each route has a watermark (its last answer) and a request that waits
longest. Both are fed by whoever sends requests; nothing here reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

# What `ended` is told: an answer, right or wrong, is progress; the other two are none.
ANSWERED, TIMED_OUT, REFUSED = "answered", "timed_out", "refused"
OUTCOMES = (ANSWERED, TIMED_OUT, REFUSED)
HANG_SECONDS = 30.0
# As many requests in a row: with 1 % of time-outs that comes once in 100 million.
SILENT_INTERVALS = 4
BLIND_SECONDS = 5.0
LATE_SECONDS = 0.1
LATE_RATIO = 0.001
DEADLOCK, HANG, UNREACHABLE, PROGRESS = "deadlock", "hang", "unreachable", "progress"


@dataclass(frozen=True)
class Route:
    """One kind of request.

    Args:
        name: as in the events.
        service: who answers it.
        every_seconds: the distance at which it is sent.
    """

    name: str
    service: str
    every_seconds: float

    @property
    def subject(self) -> str:
        """service/route."""
        return f"{self.service}/{self.name}"


@dataclass
class _State:
    in_flight: dict[int, float] = field(default_factory=dict)
    answered: int = 0
    sent: int = 0
    # Since the last answer: when the first request was sent, how many, how many were refused.
    silent_since: float | None = None
    silent_sent: int = 0
    silent_refused: int = 0
    longest_seconds: float = 0.0
    failed: Finding | None = None


class ProgressWatch:
    """Whether every route still gets answers.

    `deadlock`: nothing on the route was answered for `hang_seconds` (and four of its
    intervals) while four or more requests waited for it. `unreachable`: the same, and most
    of them were refused. `hang`: one request is older than `hang_seconds`, while others may
    be answered. What failed once stays failed, also when the system wakes up again.

    Args:
        routes: all that are asked; one that never is, is not judged.
        hang_seconds: how long nothing may be normal. Requests that a sender gives up
            earlier count by the watermark alone.
        blind_seconds: where nothing at all is told or asked for longer than this, the watch
            stood still (the machine was suspended): no time of the system's. Less than
            `hang_seconds`, or a stall of the watch passes for one of the system.

    Raises:
        ValueError: no routes, or two of the same name.

    Source:
        G2 ("a restart or hang"); field notes, "Load and latency".
    """

    def __init__(
        self,
        routes: Iterable[Route],
        hang_seconds: float = HANG_SECONDS,
        blind_seconds: float = BLIND_SECONDS,
    ) -> None:
        """See the class."""
        given = list(routes)
        self._routes = {route.name: route for route in given}
        if not given or len(self._routes) != len(given):
            raise ValueError(f"routes: expected different names, got {[x.name for x in given]}")
        self._states = {route.name: _State() for route in given}
        self._hang_seconds, self._blind_limit = hang_seconds, blind_seconds
        self._first: float | None = None
        self._latest, self._checked = 0.0, float("-inf")
        self._blind_seconds = 0.0

    def started(self, route: str, request_id: int, at_seconds: float) -> None:
        """A request was sent."""
        state, at = self._states[route], self._seen(at_seconds)
        state.in_flight[request_id] = at
        state.sent += 1
        state.silent_sent += 1
        if state.silent_since is None:
            state.silent_since = at

    def ended(
        self, route: str, request_id: int, at_seconds: float, outcome: str = ANSWERED
    ) -> None:
        """A request came to its end: ANSWERED (also wrongly), TIMED_OUT or REFUSED.

        Raises:
            ValueError: another outcome.
        """
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome: expected answered, timed_out or refused, got {outcome!r}")
        state, at = self._states[route], self._seen(at_seconds)
        # Judged before it is over: an answer after an hour is no proof that nothing hung.
        self._judge(route, at)
        state.in_flight.pop(request_id, None)
        state.silent_refused += outcome == REFUSED
        if outcome == ANSWERED:
            state.answered += 1
            state.silent_since = min(state.in_flight.values()) if state.in_flight else None
            state.silent_sent, state.silent_refused = len(state.in_flight), 0

    def check(self, now_seconds: float) -> list[Finding]:
        """One finding for each route; call it every second."""
        if now_seconds < self._checked:
            detail = f"expected a clock at {self._checked:g} s or later, got {now_seconds:g} s"
            return [self._not_judged(route, detail) for route in self._routes.values()]
        self._checked, at = now_seconds, self._seen(now_seconds)
        for name in self._routes:
            self._judge(name, at)
        return [self._finding(route) for route in self._routes.values()]

    def _seen(self, at_seconds: float) -> float:
        """The time without the stretches in which nobody watched."""
        if self._first is None:
            self._first = self._latest = at_seconds
        passed = at_seconds - self._latest
        if passed > self._blind_limit:
            self._blind_seconds += passed
        if passed > 0:
            self._latest = at_seconds
        return at_seconds - self._blind_seconds

    def _judge(self, name: str, at: float) -> None:
        state, route = self._states[name], self._routes[name]
        if state.failed or state.silent_since is None:  # or everything is answered
            return
        oldest = at - min(state.in_flight.values()) if state.in_flight else 0.0
        silent = at - state.silent_since
        state.longest_seconds = max(state.longest_seconds, oldest)
        enough = max(self._hang_seconds, SILENT_INTERVALS * route.every_seconds)
        if silent > enough and state.silent_sent >= SILENT_INTERVALS:
            refused = state.silent_refused * 2 > state.silent_sent
            kind = UNREACHABLE if refused else DEADLOCK
            got = f"none of {state.silent_sent} requests answered in {silent:.1f} s"
            state.failed = self._failure(kind, route, got, at)
        elif oldest > self._hang_seconds:
            got = f"a request in flight for {oldest:.1f} s"
            state.failed = self._failure(HANG, route, got, at)

    def _failure(self, kind: str, route: Route, got: str, at: float) -> Finding:
        state = self._states[route.name]
        detail = f"{kind}: expected an answer within {self._hang_seconds:g} s, got {got}"
        figures = self._figures(state) | {
            "in_flight": len(state.in_flight),
            "silent_sent": state.silent_sent,
            "silent_refused": state.silent_refused,
        }
        return Finding(kind, route.subject, FAILED, detail, at + self._blind_seconds, figures)

    def _finding(self, route: Route) -> Finding:
        state = self._states[route.name]
        if state.failed:
            return state.failed
        if not state.answered:
            detail = f"expected an answer, got none of {state.sent} requests so far"
            return self._not_judged(route, detail)
        if self._blind_seconds * 2 > self._latest - (self._first or 0.0):
            return self._not_judged(route, f"nobody watched for {self._blind_seconds:.1f} s")
        detail = (
            f"expected no request older than {self._hang_seconds:g} s, got "
            f"{state.longest_seconds:.1f} s at most ({state.answered} of {state.sent} answered)"
        )
        return Finding(PROGRESS, route.subject, PASSED, detail, None, self._figures(state))

    def _not_judged(self, route: Route, detail: str) -> Finding:
        state = self._states[route.name]
        figures = self._figures(state)
        return state.failed or Finding(PROGRESS, route.subject, NOT_JUDGED, detail, None, figures)

    def _figures(self, state: _State) -> dict[str, float | int | None]:
        return {
            "sent": state.sent,
            "answered": state.answered,
            "longest_seconds": state.longest_seconds,
            "blind_seconds": self._blind_seconds,
        }


def judge_lag(subject: str, sent: int, late: int, worst_seconds: float) -> Finding:
    """Whether the sender kept its own times: where it did not, latency says nothing.

    Never a failure of the system: more than 0.1 % of requests sent over 0.1 s late make
    the measured latency not judged.

    Args:
        subject: the generator.
        sent: how many requests.
        late: how many were sent more than `LATE_SECONDS` after their intended start.
        worst_seconds: the longest delay.
    """
    figures: dict[str, float | int | None] = {
        "sent": sent,
        "late": late,
        "worst_seconds": worst_seconds,
    }
    got = f"got {late} of {sent} (the worst by {worst_seconds:.3f} s)"
    detail = f"expected at most {LATE_RATIO:.1%} of requests over {LATE_SECONDS:g} s late, {got}"
    fine = sent > 0 and 0 <= late <= LATE_RATIO * sent
    return Finding("scheduler_lag", subject, PASSED if fine else NOT_JUDGED, detail, None, figures)
