"""What one request was: when it was meant to start, when things happened, what came of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

NEVER = math.nan
"""The time of something that did not happen."""


class Outcome(IntEnum):
    """What came of a request; the numbers stand in journals and never change."""

    OK = 0
    WRONG = 1  # a whole answer, but not the expected one
    ERROR = 2  # no whole answer: refused, reset, cut off
    TIMEOUT = 3  # no whole answer within the time limit, which counts from the intended start
    NOT_SENT = 4  # too many in flight, or an earlier step gave nothing
    UNFINISHED = 5  # still in flight when the traffic was ended
    LATE = 6  # not sent: the generator itself was late by the whole time limit

    @property
    def was_sent(self) -> bool:
        """Whether it went out; what did not lowers the ratio of what was planned."""
        return self not in {Outcome.NOT_SENT, Outcome.LATE}

    @property
    def is_judged(self) -> bool:
        """Whether it counts for or against the system.

        Nobody saw what would have come of UNFINISHED and LATE ones.
        """
        return self not in {Outcome.UNFINISHED, Outcome.LATE}

    @property
    def is_error(self) -> bool:
        """Whether it counts against the system."""
        return self.is_judged and self is not Outcome.OK

    @property
    def has_latency(self) -> bool:
        """Whether its duration belongs into percentiles.

        A time-out does, with the whole limit: leaving it out would hide a stall. A
        refused connection does not: its 0.2 ms would make a broken system look fast.
        """
        return self in {Outcome.OK, Outcome.WRONG, Outcome.TIMEOUT}


@dataclass(frozen=True, slots=True)
class Sample:
    """One request; times are seconds since the run's start on a clock that counts sleep.

    Args:
        profile: index of the profile in the stack file.
        step: index of the step in the profile.
        sequence: number of the start of this profile, from 0 over the whole run.
        intended_seconds: when it was to be sent; of a later step, when the one before
            was answered (and its pause was over). Latency counts from here.
        sent_seconds: when it was sent, if it was; see `lag_seconds`.
        first_byte_seconds: when the status line and headers were there.
        first_token_seconds: when a stream's first token was there.
        done_seconds: when the whole answer was there, or the error was known.
        status: HTTP status, 0 without an answer.
    """

    profile: int
    step: int
    sequence: int
    intended_seconds: float
    sent_seconds: float = NEVER
    first_byte_seconds: float = NEVER
    first_token_seconds: float = NEVER
    done_seconds: float = NEVER
    outcome: Outcome = Outcome.OK
    status: int = 0

    @property
    def latency_seconds(self) -> float:
        """From the intended start to the end of the answer."""
        return self.done_seconds - self.intended_seconds

    @property
    def token_seconds(self) -> float:
        """From the intended start to the first token of a stream."""
        return self.first_token_seconds - self.intended_seconds

    @property
    def lag_seconds(self) -> float:
        """How late it was sent, or given up unsent: the generator's lag, not the system's."""
        sent = self.sent_seconds if self.outcome.was_sent else self.done_seconds
        return sent - self.intended_seconds
