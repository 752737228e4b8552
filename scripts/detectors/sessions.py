"""Stuck sessions: not created, not destroyed, or still there after they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT_SECONDS = 60.0
ANSWER_SECONDS = 30.0
_NAMED = 5


@dataclass
class _Session:
    waiting_for: str
    since_seconds: float
    begun_seconds: float
    destroy_asked_seconds: float | None = None


class SessionWatch:
    """What became of each session; only open ones are remembered.

    The order of a session: `create_asked`, `created`, `destroy_asked`, `destroyed`, `gone`;
    `refused` wherever the system answered with an error (that is an error of its own, and
    the session, where one was created, must still be gone in time).

    Args:
        subject: service/route.
        limit_seconds: from asking for its end until it must be gone.
        answer_seconds: how long creating or destroying may stay unanswered.
        life_seconds: how long a session is used, at most, before its end is asked for;
            default: the shortest such time of a session that went. One that is open for
            longer than that and the limit is not judged: nobody asked for its end.

    Source:
        G2 ("a stuck session").
    """

    def __init__(
        self,
        subject: str,
        limit_seconds: float = LIMIT_SECONDS,
        answer_seconds: float = ANSWER_SECONDS,
        life_seconds: float | None = None,
    ) -> None:
        """See the class."""
        self._subject = subject
        self._limit_seconds, self._answer_seconds = limit_seconds, answer_seconds
        self._life_seconds, self._shortest_seconds = life_seconds, float("inf")
        self._open: dict[int, _Session] = {}
        self._stuck: dict[int, str] = {}
        self._first_seconds: float | None = None
        self._begun, self._ended = 0, 0
        self._longest_seconds = 0.0
        self._now = float("-inf")

    def create_asked(self, number: int, at_seconds: float) -> None:
        """A session was asked for.

        Raises:
            ValueError: that number is in use.
        """
        if number in self._open:
            raise ValueError(f"session {number}: expected a new number, got one in use")
        self._begun += 1
        self._open[number] = _Session("create", at_seconds, at_seconds)

    def created(self, number: int, at_seconds: float) -> None:
        """The system said that it is there."""
        self._answered(number, at_seconds)

    def destroy_asked(self, number: int, at_seconds: float) -> None:
        """Its end was asked for; more often than once is fine, the first time counts."""
        if session := self._open.get(number):
            session.waiting_for, session.since_seconds = "destroy", at_seconds
            if session.destroy_asked_seconds is None:
                session.destroy_asked_seconds = at_seconds

    def destroyed(self, number: int, at_seconds: float) -> None:
        """The system said that it ended it; whether it is gone is another question."""
        self._answered(number, at_seconds)

    def refused(self, number: int, at_seconds: float) -> None:
        """The system answered with an error instead; what was not created is over."""
        session = self._open.get(number)
        creating = session is not None and session.waiting_for == "create"
        self._answered(number, at_seconds)
        if creating:
            del self._open[number]

    def given_up(self, number: int) -> None:
        """Nobody waits for the answer any more, because the sender slept: it is no stuck one."""
        if session := self._open.get(number):
            session.waiting_for = ""

    def gone(self, number: int, at_seconds: float) -> None:
        """It was looked for, and is not there any more."""
        session = self._open.get(number)
        if session is None:
            return
        self._judge(number, session, at_seconds)
        del self._open[number]
        self._ended += 1
        asked = session.destroy_asked_seconds
        end = at_seconds if asked is None else asked
        self._longest_seconds = max(self._longest_seconds, at_seconds - end)
        self._shortest_seconds = min(self._shortest_seconds, end - session.begun_seconds)

    def check(self, now_seconds: float) -> Finding:
        """What is stuck by now; what was stuck once stays in it, also when it went later."""
        figures: dict[str, float | int | None] = {
            "begun": self._begun,
            "ended": self._ended,
            "open": len(self._open),
            "longest_seconds": self._longest_seconds,
        }
        backwards = now_seconds < self._now
        self._now = max(self._now, now_seconds)
        for number, session in self._open.items():
            self._judge(number, session, self._now)
        overdue = self._overdue()
        figures |= {"stuck": len(self._stuck), "overdue": len(overdue)}
        if self._stuck:
            detail = f"expected no stuck session, got {_named(self._stuck)}"
            return self._finding(FAILED, detail, figures)
        if backwards:
            detail = f"expected a clock at {self._now:g} s or later, got {now_seconds:g} s"
            return self._finding(NOT_JUDGED, detail, figures)
        if not self._ended:
            detail = f"expected a session that is gone, got none of {self._begun} so far"
            return self._finding(NOT_JUDGED, detail, figures)
        if overdue:
            detail = f"expected the end of each session asked for, got {_named(overdue)}"
            return self._finding(NOT_JUDGED, detail, figures)
        detail = (
            f"expected each session gone within {self._limit_seconds:g} s, got "
            f"{self._longest_seconds:.1f} s at most for {self._ended}"
        )
        return self._finding(PASSED, detail, figures)

    def _overdue(self) -> dict[int, str]:
        """Sessions whose end should have been asked for by now: the sender's fault."""
        life = self._shortest_seconds if self._life_seconds is None else self._life_seconds
        return {
            number: f"open for {self._now - session.begun_seconds:.1f} s"
            for number, session in self._open.items()
            if session.destroy_asked_seconds is None
            and self._now - session.begun_seconds > life + self._limit_seconds
        }

    def _finding(
        self, outcome: str, detail: str, figures: dict[str, float | int | None]
    ) -> Finding:
        return Finding(
            "stuck_session", self._subject, outcome, detail, self._first_seconds, figures
        )

    def _answered(self, number: int, at_seconds: float) -> None:
        if session := self._open.get(number):
            self._judge(number, session, at_seconds)
            session.waiting_for = ""

    def _judge(self, number: int, session: _Session, now_seconds: float) -> None:
        asked, waited = session.destroy_asked_seconds, now_seconds - session.since_seconds
        if asked is not None and now_seconds - asked > self._limit_seconds:
            why = f"not gone {now_seconds - asked:.1f} s after its end was asked for"
        elif session.waiting_for and waited > self._answer_seconds:
            why = f"{session.waiting_for} not answered for {waited:.1f} s"
        else:
            return
        if self._first_seconds is None:
            self._first_seconds = now_seconds
        self._stuck.setdefault(number, why)


def _named(found: Mapping[int, str]) -> str:
    """How many, and the first of them; one line however many there are."""
    named = [f"session {number}: {why}" for number, why in found.items()]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"{len(named)}: {'; '.join(named[:_NAMED])}{more}"
