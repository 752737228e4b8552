"""The load generator: an open loop, so that a stalled system can't slow its own measurement.

A request is sent when it is due, whether or not earlier ones were answered, over a
connection of its own, and its latency and time limit count from when it was due.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from traffic.answers import captures
from traffic.clock import boottime_seconds
from traffic.exchange import Courier, Exchange
from traffic.sample import Outcome
from traffic.schedule import Schedule, Start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from traffic.model import Profile
    from traffic.sample import Sample
    from traffic.target import Target

    OnSample = Callable[[Sample, str | None], None]
    OnStart = Callable[[int, int, int, float], None]

IN_FLIGHT_LIMIT = 2000
# The loop's clock stops while the machine sleeps: look at ours at least this often.
_LONGEST_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class TrafficReport:
    """What a generator did.

    Args:
        planned_starts: starts of all profiles that the schedule had until its end.
        due_starts: how many of them came due before it was stopped.
        sent_starts: how many of those were sent.
        unfinished: requests that were still in flight at the end.
        most_in_flight: starts in flight at the same time.
        worst_lag_seconds: how late the generator itself was, at worst.
    """

    planned_starts: int
    due_starts: int
    sent_starts: int
    unfinished: int
    most_in_flight: int
    worst_lag_seconds: float


async def run_traffic(
    profiles: Sequence[Profile],
    target: Target,
    *,
    start: float,
    stop: asyncio.Event,
    duration_seconds: float,
    on_sample: OnSample,
    on_start: OnStart | None = None,
    speed: float = 1.0,
    begin_seconds: float = 0.0,
    in_flight_limit: int = IN_FLIGHT_LIMIT,
    drain_seconds: float | None = None,
    clock: Callable[[], float] = boottime_seconds,
) -> TrafficReport:
    """Send the traffic of some profiles until its end, or until `stop` is set.

    After `stop`, pauses are cut short and what is in flight is waited for; every request
    that was begun gives exactly one sample, also where this call is cancelled.

    Args:
        profiles: of the stack file, in order.
        target: where it goes.
        start: the reading of `clock` that is second 0 of the run.
        stop: ends the traffic early.
        duration_seconds: the last second of the run, from its start (not from `begin_seconds`).
        on_sample: called with each request's sample when it ends, and its error's text.
        on_start: called with profile, step, sequence and intended seconds when a request
            begins; not for one that is never sent.
        speed: above 1 for an accelerated run.
        begin_seconds: where a resumed run goes on; what was due before is not sent.
        in_flight_limit: starts in flight; one beyond it is recorded as not sent; one that
            is overdue by its whole time limit as late, which is no error of the system.
        drain_seconds: how long to wait for what is in flight; default: as long as the
            slowest profile may take.
        clock: seconds; counts while the machine sleeps.

    Raises:
        Exception: whatever `on_sample` or `on_start` raised.
    """
    schedule = Schedule(tuple(profiles), speed)
    async with Courier(target, clock, start) as courier:
        run = _Run(
            schedule,
            courier,
            stop=stop,
            on_sample=on_sample,
            on_start=on_start,
            in_flight_limit=in_flight_limit,
        )
        try:
            await run.send_all(begin_seconds, duration_seconds)
            await run.drain(_longest(schedule) if drain_seconds is None else drain_seconds)
        finally:
            await run.cancel_rest()
    if run.failure:
        raise run.failure
    return run.report(sum(schedule.planned(duration_seconds)))


def _longest(schedule: Schedule) -> float:
    """How long a start may take: every step to its time limit, with every pause."""
    return 1.0 + max(
        (
            profile.timeout_seconds * len(profile.steps)
            + sum(step.after_seconds for step in profile.steps) / schedule.speed
            for profile in schedule.profiles
        ),
        default=0.0,
    )


@dataclass
class _Flight:
    """One start under way: the request that it is at."""

    exchange: Exchange


class _Run:
    """The starts of one run that are under way, and what was done so far."""

    def __init__(
        self,
        schedule: Schedule,
        courier: Courier,
        *,
        stop: asyncio.Event,
        on_sample: OnSample,
        on_start: OnStart | None,
        in_flight_limit: int,
    ) -> None:
        self._schedule, self._courier, self._stop = schedule, courier, stop
        self._on_sample, self._on_start, self._limit = on_sample, on_start, in_flight_limit
        self._flights: dict[asyncio.Task[None], _Flight] = {}
        self._due = self._sent = self._most = self._unfinished = 0
        self._worst_lag = 0.0
        self.failure: BaseException | None = None

    async def send_all(self, begin_seconds: float, end_seconds: float) -> None:
        """Begin each start when it is due; never waits for an answer."""
        for due in self._schedule.starts(begin_seconds, end_seconds):
            if not await self._wait_until(due.intended_seconds):
                return
            self._due += 1
            self._begin(due)

    async def drain(self, seconds: float) -> None:
        """Wait for what is in flight."""
        if self._flights and self.failure is None:
            await asyncio.wait(self._flights, timeout=seconds)

    async def cancel_rest(self) -> None:
        """End what is still in flight; `_landed` records it."""
        rest = list(self._flights)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    def report(self, planned_starts: int) -> TrafficReport:
        """What was done."""
        return TrafficReport(
            planned_starts, self._due, self._sent, self._unfinished, self._most, self._worst_lag
        )

    async def _wait_until(self, seconds: float) -> bool:
        """Whether the time came before the traffic was stopped."""
        while not self._stop.is_set() and self.failure is None:
            wait = seconds - self._courier.now()
            if wait <= 0:
                await asyncio.sleep(0)
                return True
            await self._pause(min(wait, _LONGEST_WAIT_SECONDS))
        return False

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless the traffic is stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    def _begin(self, due: Start) -> None:
        lag = self._courier.now() - due.intended_seconds
        self._worst_lag = max(self._worst_lag, lag)
        if lag >= self._schedule.profiles[due.profile].timeout_seconds:
            text = f"not sent: the generator was {lag:.3f} s late"
            self._refuse(due, Outcome.LATE, text)
        elif len(self._flights) >= self._limit:
            self._refuse(due, Outcome.NOT_SENT, f"not sent: {len(self._flights)} in flight")
        else:
            self._launch(due)

    def _refuse(self, due: Start, outcome: Outcome, text: str) -> None:
        """Record every request of a start that is not made: none is silently dropped."""
        for step in range(len(self._schedule.profiles[due.profile].steps)):
            exchange = Exchange(due.profile, step, due.sequence, due.intended_seconds)
            self._courier.end(exchange, outcome, text)
            self._on_sample(exchange.sample(), exchange.text)

    def _launch(self, due: Start) -> None:
        flight = _Flight(Exchange(due.profile, 0, due.sequence, due.intended_seconds))
        self._announce(flight.exchange)
        task = asyncio.get_running_loop().create_task(self._play(flight))
        self._flights[task] = flight
        task.add_done_callback(self._landed)
        self._sent += 1
        self._most = max(self._most, len(self._flights))

    async def _play(self, flight: _Flight) -> None:
        """Send one step after the other; a failed one ends nothing that can still be done.

        A session whose heartbeat failed still has to be destroyed.
        """
        profile = self._schedule.profiles[flight.exchange.profile]
        values: dict[str, object] = {"sequence": flight.exchange.sequence}
        for index, step in enumerate(profile.steps):
            if index:
                await self._go_on(flight, step.after_seconds / self._schedule.speed)
            exchange = flight.exchange
            if missing := sorted(step.needs - values.keys()):
                text = f"not sent: no answer before it gave {{{missing[0]}}}"
                self._courier.end(exchange, Outcome.NOT_SENT, text)
            else:
                if index:
                    self._announce(exchange)
                values |= captures(step, await self._courier.ask(profile, exchange, values))
            self._on_sample(exchange.sample(), exchange.text)

    async def _go_on(self, flight: _Flight, pause_seconds: float) -> None:
        """Turn to the next step, which is due when the pause is over, or at the stop.

        What the generator is too late for is sent all the same, and counts from then:
        the pause was longer, and what a session made still has to be ended.
        """
        last = flight.exchange
        due_seconds = last.done_seconds + pause_seconds
        flight.exchange = Exchange(last.profile, last.step + 1, last.sequence, due_seconds)
        in_time = pause_seconds <= 0 or await self._wait_until(due_seconds)
        now = self._courier.now()
        limit = self._schedule.profiles[last.profile].timeout_seconds
        if not in_time or now - due_seconds >= limit:
            flight.exchange.intended_seconds = now
        if in_time:
            self._worst_lag = max(self._worst_lag, now - due_seconds)

    def _announce(self, exchange: Exchange) -> None:
        if self._on_start:
            self._on_start(
                exchange.profile, exchange.step, exchange.sequence, exchange.intended_seconds
            )

    def _landed(self, task: asyncio.Task[None]) -> None:
        """A start is over: done, cancelled (perhaps before its first line ran), or a bug."""
        flight = self._flights.pop(task)
        try:
            if not task.cancelled() and (failure := task.exception()):
                raise failure
            if flight.exchange.outcome is Outcome.UNFINISHED:
                self._unfinished += 1
                text = "still in flight when the traffic was ended"
                self._courier.end(flight.exchange, Outcome.UNFINISHED, text)
                self._on_sample(flight.exchange.sample(), flight.exchange.text)
        except Exception as problem:  # noqa: BLE001 - raised by run_traffic
            self.failure = self.failure or problem
