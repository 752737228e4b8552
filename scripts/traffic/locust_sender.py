"""The open loop of a Locust worker: generator.py's rules, with greenlets for tasks.

Locust's users would each wait for an answer before they send again, which hides a stall.
Here a request has a greenlet of its own and is sent when it is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import gevent  # type: ignore[import-untyped]
from gevent.event import Event  # type: ignore[import-untyped]

from traffic.answers import captures
from traffic.exchange import Exchange
from traffic.locust_wire import sample_row, start_row
from traffic.sample import Outcome

if TYPE_CHECKING:
    from typing import Any

    from traffic.locust_exchange import GreenCourier
    from traffic.locust_share import Split
    from traffic.schedule import Schedule, Start

_LONGEST_WAIT_SECONDS = 1.0


@dataclass(eq=False)
class _Flight:
    """One start under way: the request that it is at."""

    exchange: Exchange


class Sender:
    """Sends one worker's part of a schedule.

    Args:
        schedule: of all workers.
        split: the part.
        courier: sends and judges.
        in_flight_limit: a start beyond it is recorded as not sent.
    """

    def __init__(
        self, schedule: Schedule, split: Split, courier: GreenCourier, in_flight_limit: int
    ) -> None:
        """Nothing is sent yet."""
        self._schedule, self._split, self._courier = schedule, split, courier
        self._limit = in_flight_limit
        self._stop = Event()
        self._flights: dict[_Flight, gevent.Greenlet] = {}
        self._rows: list[list[Any]] = []
        self.most_in_flight = 0
        self.worst_lag_seconds = 0.0
        self.failure: BaseException | None = None

    def take_rows(self) -> list[list[Any]]:
        """What began and ended since the last call, in order."""
        rows, self._rows = self._rows, []
        return rows

    def stop(self) -> None:
        """Send nothing more that is not due yet; pauses are cut short."""
        self._stop.set()

    def run(self, begin_seconds: float, end_seconds: float, drain_seconds: float) -> None:
        """Send everything that comes due, then wait for what is in flight.

        Raises:
            Exception: a bug in here; what is in flight is recorded all the same.
        """
        try:
            for due in self._split.starts(self._schedule, begin_seconds, end_seconds):
                if not self._wait_until(due.intended_seconds):
                    break
                self._begin(due)
            gevent.joinall([*self._flights.values()], timeout=drain_seconds)
        finally:
            self._end_rest()
        if self.failure:
            raise self.failure

    def _wait_until(self, seconds: float) -> bool:
        """Whether the time came before the stop."""
        while not self._stop.is_set() and self.failure is None:
            wait = seconds - self._courier.now()
            if wait <= 0:
                gevent.sleep(0)
                return True
            self._stop.wait(min(wait, _LONGEST_WAIT_SECONDS))
        return False

    def _begin(self, due: Start) -> None:
        lag = self._courier.now() - due.intended_seconds
        self.worst_lag_seconds = max(self.worst_lag_seconds, lag)
        if lag >= self._schedule.profiles[due.profile].timeout_seconds:
            self._refuse(due, Outcome.LATE, f"not sent: the generator was {lag:.3f} s late")
        elif len(self._flights) >= self._limit:
            self._refuse(due, Outcome.NOT_SENT, f"not sent: {len(self._flights)} in flight")
        else:
            flight = _Flight(Exchange(due.profile, 0, due.sequence, due.intended_seconds))
            self._announce(flight.exchange)
            self._flights[flight] = gevent.spawn(self._fly, flight)
            self.most_in_flight = max(self.most_in_flight, len(self._flights))

    def _refuse(self, due: Start, outcome: Outcome, text: str) -> None:
        for step in range(len(self._schedule.profiles[due.profile].steps)):
            exchange = Exchange(due.profile, step, due.sequence, due.intended_seconds)
            self._over(exchange, outcome, text)

    def _fly(self, flight: _Flight) -> None:
        try:
            self._play(flight)
        except Exception as problem:  # noqa: BLE001 - raised by `run`
            self.failure = self.failure or problem
        else:
            del self._flights[flight]

    def _play(self, flight: _Flight) -> None:
        """Send one step after the other; a failed one ends nothing that can still be done."""
        profile = self._schedule.profiles[flight.exchange.profile]
        values: dict[str, object] = {"sequence": flight.exchange.sequence}
        for index, step in enumerate(profile.steps):
            if index:
                self._go_on(flight, step.after_seconds / self._schedule.speed)
            exchange = flight.exchange
            if missing := sorted(step.needs - values.keys()):
                text = f"not sent: no answer before it gave {{{missing[0]}}}"
                self._over(exchange, Outcome.NOT_SENT, text)
                continue
            if index:
                self._announce(exchange)
            values |= captures(step, self._courier.carry(profile, exchange, values))
            self._rows.append(sample_row(exchange.sample(), exchange.text))

    def _go_on(self, flight: _Flight, pause_seconds: float) -> None:
        """Turn to the next step, which is due when the pause is over, or at the stop."""
        last = flight.exchange
        due_seconds = last.done_seconds + pause_seconds
        flight.exchange = Exchange(last.profile, last.step + 1, last.sequence, due_seconds)
        in_time = pause_seconds <= 0 or self._wait_until(due_seconds)
        now = self._courier.now()
        limit = self._schedule.profiles[last.profile].timeout_seconds
        if not in_time or now - due_seconds >= limit:
            flight.exchange.intended_seconds = now
        if in_time:
            self.worst_lag_seconds = max(self.worst_lag_seconds, now - due_seconds)

    def _announce(self, exchange: Exchange) -> None:
        values = exchange.profile, exchange.step, exchange.sequence, exchange.intended_seconds
        self._rows.append(start_row(*values))

    def _over(self, exchange: Exchange, outcome: Outcome, text: str) -> None:
        self._courier.end(exchange, outcome, text)
        self._rows.append(sample_row(exchange.sample(), exchange.text))

    def _end_rest(self) -> None:
        """End what is still in flight, and record it."""
        gevent.killall([*self._flights.values()])
        for flight in self._flights:
            if flight.exchange.outcome is Outcome.UNFINISHED:
                text = "still in flight when the traffic was ended"
                self._over(flight.exchange, Outcome.UNFINISHED, text)
        self._flights.clear()
