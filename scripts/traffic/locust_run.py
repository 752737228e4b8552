"""One run of traffic by Locust workers: orders out, samples in, nobody missed unnoticed."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING, Any

from common.cli import ScriptError
from traffic.clock import boottime_seconds
from traffic.generator import _longest
from traffic.locust_child import GONE
from traffic.locust_crew import Hand, report_of
from traffic.locust_merge import Merge
from traffic.locust_share import Share, Split
from traffic.locust_wire import is_start, read_sample
from traffic.sample import Outcome
from traffic.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from traffic.generator import OnSample, OnStart, TrafficReport
    from traffic.locust_child import MasterChild
    from traffic.locust_crew import Member
    from traffic.model import Profile
    from traffic.sample import Sample

_LOOK_SECONDS = 0.5
_MORE_AT_ONCE = 5000
_STARTED = 4
# What a worker may take to end once nothing is in flight any more, or after a cancel.
_END_SECONDS = 3.0
_LAST_WORDS_SECONDS = 2.0


class LocustRun:
    """The traffic between two seconds of a run.

    Args:
        child: the master.
        crew: the workers, in the order of their parts.
        profiles: of the stack file.
        speed: above 1 for an accelerated run.
        span: first and last second.
        start: the clock reading that is second 0.
        stop: ends the traffic early.
        on_sample: see `generator.run_traffic`.
        on_start: likewise.
        lost_seconds: a worker that is silent for so long is lost.
        at_door: takes the events that are no worker's of this run.
    """

    def __init__(
        self,
        child: MasterChild,
        crew: Sequence[Member],
        profiles: Sequence[Profile],
        *,
        speed: float,
        span: tuple[float, float],
        start: float,
        stop: asyncio.Event,
        on_sample: OnSample,
        on_start: OnStart | None,
        lost_seconds: float,
        at_door: Callable[[Mapping[str, Any]], None],
    ) -> None:
        """Nothing is ordered yet."""
        self._child, self._start, self._stop = child, start, stop
        self._schedule = Schedule(tuple(profiles), speed)
        self._begin, self._end = span
        self._on_sample, self._on_start, self._at_door = on_sample, on_start, at_door
        self._lost_seconds = lost_seconds
        now = boottime_seconds() - start
        self._hands = {
            member.client: Hand(
                member,
                Share(self._schedule, Split(index, len(crew)), self._begin, self._end),
                now,
            )
            for index, member in enumerate(crew)
        }
        self._said_stop = self._breaking = self._deaf = False
        self._unfinished = 0
        self._news: Merge[Any] = Merge()
        self._wake = asyncio.Event()

    async def run(self, in_flight_limit: int, drain_seconds: float | None) -> TrafficReport:
        """Run it; every request that was begun gives exactly one sample, also when cancelled.

        Raises:
            ScriptError: the master ended.
        """
        drain = _longest(self._schedule) if drain_seconds is None else drain_seconds
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(self._wake.set)

        self._child.on_event = wake
        try:
            self._order(in_flight_limit, drain)
            await self._work(self._end + drain + _END_SECONDS)
            self._deliver(math.inf)
        except BaseException:
            await self._break_off()
            raise
        finally:
            self._child.on_event = lambda: None
        planned = sum(self._schedule.planned(self._end))
        return report_of([*self._hands.values()], planned, self._unfinished)

    def _order(self, in_flight_limit: int, drain: float) -> None:
        count = len(self._hands)
        for index, client in enumerate(self._hands):
            self._child.command(
                "order",
                client,
                index=index,
                workers=count,
                start=self._start,
                speed=self._schedule.speed,
                begin_seconds=self._begin,
                end_seconds=self._end,
                drain_seconds=drain,
                lost_seconds=self._lost_seconds,
                in_flight_limit=max(1, in_flight_limit // count),
            )

    def _now(self) -> float:
        return boottime_seconds() - self._start

    @property
    def done(self) -> bool:
        """Whether the traffic came to its end, and nobody asked for less."""
        return not self._stop.is_set() and all(hand.ended for hand in self._hands.values())

    def known_seconds(self, now_seconds: float) -> float:
        """Until when everything that happened was told; a silent worker holds it up."""
        busy = (hand for hand in self._hands.values() if not (hand.ended or hand.lost))
        return min([now_seconds, *(hand.known_seconds for hand in busy)])

    async def _work(self, last_seconds: float) -> None:
        while not all(hand.ended for hand in self._hands.values()):
            self._take_events()
            self._find_lost(last_seconds)
            self._pursue()
            self._deliver(self.known_seconds(self._now()))
            if self._stop.is_set() and not self._said_stop:
                self._said_stop = True
                self._child.command("stop")
            await self._rest()

    async def _rest(self) -> None:
        """Until something is heard or asked for, but not for long."""
        waits = [asyncio.ensure_future(self._wake.wait())]
        if not self._said_stop:
            waits.append(asyncio.ensure_future(self._stop.wait()))
        try:
            await asyncio.wait(waits, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._wake.clear()

    def _take_events(self) -> None:
        while event := self._child.next():
            if event["event"] == GONE:
                raise ScriptError("the Locust master ended: its error stands above")
            hand = self._hands.get(event.get("worker", ""))
            if hand is None or event["event"] == "doubt":
                self._at_door(event)
            elif hand.lost:
                self._send_away(hand)
            else:
                self._take(hand, event)

    def _take(self, hand: Hand, event: Mapping[str, Any]) -> None:
        hand.heard_at = self._now()
        if event["event"] == "batch":
            hand.member.note(event)
            hand.known_seconds = event["until"] - self._start
            for row in event["rows"]:
                self._take_row(hand, row)
        elif event["event"] == "ended" or self._breaking:
            hand.ended = True
        elif event["event"] == "leaving" and not hand.ended:
            self._lose(hand, "it was ended")

    def _take_row(self, hand: Hand, row: list[Any]) -> None:
        if is_start(row):
            profile, step, sequence, at = row
            hand.share.started(profile, step, sequence, at)
            self._news.put(at, (profile, step, sequence, at))
        else:
            sample, text = read_sample(row)
            hand.share.ended(sample)
            self._news.put(sample.done_seconds, (sample, text))

    def _deliver(self, until_seconds: float) -> None:
        """Tell whoever asked for this traffic, in order of time."""
        for item in self._news.take(until_seconds):
            self._deaf = True
            if len(item) == _STARTED:
                if self._on_start:
                    self._on_start(*item)
            else:
                sample, text = item
                self._unfinished += sample.outcome is Outcome.UNFINISHED
                self._on_sample(sample, text)
            self._deaf = False  # it did not raise

    def _find_lost(self, last_seconds: float) -> None:
        now = self._now()
        for hand in self._hands.values():
            if hand.ended or hand.lost:
                continue
            if (silent := now - hand.heard_at) > self._lost_seconds:
                self._lose(hand, f"nothing was heard of it for {silent:.0f} s")
            elif now > last_seconds:
                self._lose(hand, "it did not end in time")

    def _lose(self, hand: Hand, why: str) -> None:
        """A worker is gone: what it began is broken off, what it was to send is not sent."""
        self._tell_of(hand, hand.lose(why))
        self._send_away(hand)

    def _send_away(self, hand: Hand) -> None:
        self._child.command("dismiss", hand.member.client, why=hand.member.lost_why)

    def _tell_of(self, hand: Hand, samples: Iterable[Sample]) -> None:
        name, why = hand.member.name, hand.member.lost_why
        for sample in samples:
            broken = sample.outcome is Outcome.UNFINISHED
            what = "in flight when" if broken else "not sent:"
            text = f"{what} the worker {name} was lost: {why}"
            self._news.put(sample.done_seconds, (sample, text))

    def _pursue(self) -> None:
        """Record what lost workers should have sent by now."""
        for hand in self._hands.values():
            if hand.ended or not hand.lost:
                continue
            now = self._now()
            self._tell_of(hand, hand.overdue(now, _MORE_AT_ONCE))
            if hand.is_behind(now):
                self._wake.set()
            hand.ended = hand.is_through or (self._stop.is_set() and not hand.is_behind(now))

    async def _break_off(self) -> None:
        """Cancelled, or broken: let the workers tell what was in flight, then say it for them."""
        self._breaking = True
        hands = [*self._hands.values()]
        with contextlib.suppress(ScriptError):
            self._child.command("dismiss", why="the traffic was broken off")
            until = self._now() + _LAST_WORDS_SECONDS
            while not self._deaf and self._now() < until:
                self._take_events()
                if all(hand.ended or hand.lost for hand in hands):
                    break
                await asyncio.sleep(_LOOK_SECONDS / 10)
        for hand in hands:
            hand.member.starts_sent = hand.share.sent
            if not (hand.ended or hand.lost or self._deaf):
                hand.member.lost_why = "the run was broken off"
                self._tell_of(hand, hand.share.broken_off(self._now()))
        if not self._deaf:
            self._deliver(math.inf)
