"""Follows single requests: does every route get answers, does every session end?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from detectors.progress import (
    ANSWERED,
    BLIND_SECONDS,
    LATE_SECONDS,
    REFUSED,
    TIMED_OUT,
    ProgressWatch,
    Route,
)
from detectors.sessions import SessionWatch
from traffic.sample import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detectors.finding import Finding
    from traffic.model import Profile
    from traffic.sample import Sample

# Of a profile's time limit: found before the sender gives up, while it can still be seen.
HANG_SHARE = 0.9
# The watch is asked every second: two ticks and a half without it are no quiet route.
TICKS_SECONDS = 2.5
_ENDS = {Outcome.OK: ANSWERED, Outcome.WRONG: ANSWERED, Outcome.TIMEOUT: TIMED_OUT}


class Watching:
    """Tells the detectors of progress and of sessions what happens.

    Args:
        profiles: of the stack file, in order.
        speed: of the traffic.
    """

    def __init__(self, profiles: Sequence[Profile], speed: float = 1.0) -> None:
        """See the class."""
        self._profiles = profiles
        limits = {profile.timeout_seconds for profile in profiles}
        watches = {limit: _progress_watch(profiles, limit, speed) for limit in limits}
        self._watches = [*watches.values()]
        self._progress = [watches[profile.timeout_seconds] for profile in profiles]
        self._sessions = {
            index: _session_watch(profile, speed)
            for index, profile in enumerate(profiles)
            if profile.end_step is not None
        }
        self.first_steps_sent = self.late = 0
        self.worst_lag_seconds = 0.0

    def started(self, profile: int, step: int, sequence: int, at: float) -> None:
        """A request was sent."""
        route = self._profiles[profile]
        self._progress[profile].started(route.name, _number(route, step, sequence), at)
        if watch := self._sessions.get(profile):
            if step == 0:
                watch.create_asked(sequence, at)
            elif step == _destroy_step(route):
                watch.destroy_asked(sequence, at)

    def ended(self, sample: Sample) -> None:
        """A request ended."""
        if sample.outcome in {Outcome.NOT_SENT, Outcome.LATE}:
            self.note_lag(sample)
            return
        at = sample.done_seconds
        route = self._profiles[sample.profile]
        number = _number(route, sample.step, sample.sequence)
        if sample.outcome is Outcome.UNFINISHED:
            # We gave it up: nobody waits for it any more.
            self._progress[sample.profile].ended(route.name, number, at, REFUSED)
            if watch := self._sessions.get(sample.profile):
                watch.given_up(sample.sequence)
            return
        self.note_lag(sample)
        how = _ENDS.get(sample.outcome, REFUSED)
        self._progress[sample.profile].ended(route.name, number, at, how)
        if watch := self._sessions.get(sample.profile):
            _tell(watch, route, sample, at)

    def note_lag(self, sample: Sample) -> None:
        """Count how late the generator itself was, also in an earlier piece."""
        if sample.outcome is Outcome.NOT_SENT:
            return
        if sample.step == 0 and not math.isnan(sample.lag_seconds):
            self.first_steps_sent += 1
            self.late += sample.lag_seconds > LATE_SECONDS
            self.worst_lag_seconds = max(self.worst_lag_seconds, sample.lag_seconds)

    def check(self, now_seconds: float) -> list[Finding]:
        """One finding for each profile, and one for each that makes sessions."""
        found = [item for watch in self._watches for item in watch.check(now_seconds)]
        return found + [watch.check(now_seconds) for watch in self._sessions.values()]


def _progress_watch(profiles: Sequence[Profile], limit: float, speed: float) -> ProgressWatch:
    """One for all profiles with the same time limit."""
    routes = [
        Route(
            profile.name,
            profile.service,
            float(profile.interval_seconds) / speed / len(profile.steps),
        )
        for profile in profiles
        if profile.timeout_seconds == limit
    ]
    hang_seconds = HANG_SHARE * limit
    blind_seconds = max(TICKS_SECONDS, min(BLIND_SECONDS, hang_seconds / 2))
    return ProgressWatch(routes, hang_seconds, blind_seconds)


def _session_watch(profile: Profile, speed: float) -> SessionWatch:
    end = profile.steps[profile.end_step or 0]
    used = profile.steps[: _destroy_step(profile) + 1] if profile.end_step else ()
    pauses = sum(step.after_seconds for step in used) / speed
    return SessionWatch(
        f"{profile.service}/{profile.name}",
        # The look that proves the end comes after its pause, and has its own time limit.
        limit_seconds=end.after_seconds + 2 * profile.timeout_seconds,
        answer_seconds=profile.timeout_seconds,
        life_seconds=pauses + profile.timeout_seconds * max(1, len(used) - 1),
    )


def _number(profile: Profile, step: int, sequence: int) -> int:
    return sequence * len(profile.steps) + step


def _destroy_step(profile: Profile) -> int:
    return max(0, (profile.end_step or 0) - 1)


def _tell(watch: SessionWatch, profile: Profile, sample: Sample, at: float) -> None:
    number, good = sample.sequence, sample.outcome is Outcome.OK
    if sample.step == profile.end_step:
        if good:
            watch.gone(number, at)
    elif sample.step == 0:
        (watch.created if good else watch.refused)(number, at)
    elif sample.step == _destroy_step(profile):
        (watch.destroyed if good else watch.refused)(number, at)
