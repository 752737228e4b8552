"""What the detectors say of a soak: while it runs (can it still pass?) and at its end.

Source: G2; detectors: scripts/detectors, measured in docs/detectors.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.errors import judge_bursts, judge_errors
from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding
from detectors.leak import growth_per_request, judge_leak
from detectors.progress import DEADLOCK, HANG, PROGRESS, UNREACHABLE, judge_lag
from detectors.restarts import GONE, RestartWatch
from detectors.restarts import Identity as Seen
from detectors.spikes import judge_drift, judge_spikes
from traffic.sample import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from soak.collector import Collector
    from soak.history import History, RouteHistory
    from soak.watching import Watching
    from stack.identity import Identity

WHOLE = "all profiles"
TIMEOUTS = "timeouts"
# What the gate counts, and the detectors that belong to it.
COUNTED = {
    "leaks": ("leak", "growth_per_request"),
    "hangs": (DEADLOCK, HANG, UNREACHABLE, PROGRESS),
    "stuck_sessions": ("stuck_session",),
    "spikes": ("spikes", "drift"),
    "bursts": ("error_burst",),
    "errors": ("errors",),
    "restarts": ("restart",),
    "timeouts": (TIMEOUTS,),
    "lags": ("scheduler_lag",),
}
# A route that is asked every few minutes has too few samples for these, also in 48 hours:
# they count as not judged only where they could judge no route at all.
_BY_SAMPLES = {"spikes", "drift"}


class Judges:
    """All detectors over one piece.

    Args:
        collector: the requests.
        watching: the requests one by one.
        history: what is judged over time, earlier pieces included.
        services: of the runtime.
        planned: requests of the whole soak.
        speed: above 1, growth of memory is judged by requests and not by time.
    """

    def __init__(
        self,
        collector: Collector,
        watching: Watching,
        history: History,
        *,
        services: Sequence[str],
        planned: int,
        speed: float = 1.0,
    ) -> None:
        """See the class."""
        self._collector, self._watching, self._history = collector, watching, history
        self._restarts = RestartWatch(services)
        self._planned, self._speed = planned, speed

    def saw(self, at_seconds: float, identities: Mapping[str, Identity | None]) -> None:
        """Take one look at who the services are."""
        seen = {name: None if item is None else as_seen(item) for name, item in identities.items()}
        self._restarts.saw(at_seconds, seen)

    def restarts(self) -> dict[str, int | None]:
        """Restarts of each service so far; None where it can't be seen."""
        return {
            item.subject: None if item.outcome == NOT_JUDGED else int(item.figures["restarts"] or 0)
            for item in self._restarts.check()
        }

    def each_second(self, now_seconds: float) -> list[Finding]:
        """What has failed by now, of what may fail from one second to the next."""
        found = self._restarts.check() + self._watching.check(now_seconds) + [self._timeouts()]
        found.append(self._errors(planned=self._planned))
        return [item for item in found if item.outcome == FAILED]

    def each_minute(self) -> list[Finding]:
        """What has failed by now, of what needs a window of time."""
        found = [judge_bursts(WHOLE, self._history.error_windows())]
        for profile, route in self._routes():
            windows = route.windows(whole=False)
            found.append(judge_spikes(profile, windows, window_seconds=route.window_seconds))
        return [item for item in found if item.outcome == FAILED]

    def each_hour(self) -> list[Finding]:
        """What has failed by now, of what needs hours."""
        return [item for item in self._memory() if item.outcome == FAILED]

    def all(self, now_seconds: float) -> list[Finding]:
        """Every detector's word on the whole soak, failed ones first."""
        found = [
            self._errors(),
            self._timeouts(),
            judge_bursts(WHOLE, self._history.error_windows()),
        ]
        found += self._watching.check(now_seconds) + self._restarts.check() + self._memory()
        for profile, route in self._routes():
            windows, length = route.windows(whole=True), route.window_seconds
            found.append(judge_spikes(profile, windows, window_seconds=length))
            found.append(judge_drift(profile, windows, window_seconds=length))
        watch = self._watching
        found.append(
            judge_lag("generator", watch.first_steps_sent, watch.late, watch.worst_lag_seconds)
        )
        order = (FAILED, NOT_JUDGED, PASSED)
        return sorted(found, key=lambda item: order.index(item.outcome))

    def _routes(self) -> list[tuple[str, RouteHistory]]:
        pairs = zip(self._collector.profiles, self._history.routes, strict=True)
        return [(f"{profile.service}/{profile.name}", route) for profile, route in pairs]

    def _memory(self) -> list[Finding]:
        rows = self._history.memory.items()
        if self._speed > 1:
            return [
                growth_per_request(name, row.seconds, row.requests, row.memory_bytes)
                for name, row in rows
            ]
        return [judge_leak(name, row.seconds, row.memory_bytes) for name, row in rows]

    def _errors(self, planned: int | None = None) -> Finding:
        windows = self._history.error_windows() if planned is None else ()
        if windows:
            ended, errors = sum(row.requests for row in windows), sum(row.errors for row in windows)
            return judge_errors(WHOLE, ended, errors)
        return judge_errors(WHOLE, self._collector.ended, self._collector.errors, planned=planned)

    def _timeouts(self) -> Finding:
        """No request may run out of its time (G2)."""
        ended, count = self._collector.ended, self._collector.count(Outcome.TIMEOUT)
        figures = {"requests": ended, "timeouts": count}
        detail = f"expected no time-out, got {count} of {ended:,}"
        if not ended:
            return Finding(TIMEOUTS, WHOLE, NOT_JUDGED, "no request has ended", None, figures)
        if not count or self._collector.last_timeout is None:
            return Finding(TIMEOUTS, WHOLE, PASSED, detail, None, figures)
        sample, text = self._collector.last_timeout
        name = self._collector.names[sample.profile]
        detail += f": {name} number {sample.sequence}: {text}"
        return Finding(TIMEOUTS, WHOLE, FAILED, detail, sample.done_seconds, figures)


def as_seen(identity: Identity) -> Seen:
    """An identity as the detector of restarts knows it."""
    if identity.ended:
        return GONE
    if identity.container:
        at, restarts = identity.key.partition("@")[2], identity.restarts
        return Seen(container_id=identity.container, started_at=at, restart_count=restarts)
    return Seen(pid=identity.pid, birth=identity.key)


def counts_of(findings: Sequence[Finding]) -> dict[str, int | None]:
    """How many of each kind failed; None where no detector of that kind could judge.

    `not_judged` counts findings, `failed` those of any kind.
    """
    counts: dict[str, int | None] = {}
    for kind, detectors in COUNTED.items():
        judged = [
            item for item in findings if item.detector in detectors and item.outcome != NOT_JUDGED
        ]
        counts[kind] = sum(item.outcome == FAILED for item in judged) if judged else None
    unjudged = [item for item in findings if item.outcome == NOT_JUDGED]
    judging = {item.detector for item in findings if item.outcome != NOT_JUDGED}
    counts["not_judged"] = sum(
        item.detector not in _BY_SAMPLES or item.detector not in judging for item in unjudged
    )
    counts["failed"] = sum(item.outcome == FAILED for item in findings) if findings else None
    return counts
