"""One piece of a soak: traffic, a look at the system each second, a file each minute."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from soak.collector import Collector
from soak.folder import COMPLETED, INTERRUPTED, STOPPED
from soak.history import History
from soak.judges import Judges
from soak.live import snapshot_of
from soak.minute_writer import MinuteWriter
from soak.minutes import MINUTE_SECONDS
from soak.piece import OpenPiece
from soak.sampler import Sampler
from soak.signals import told_of_signals
from soak.sleeping import as_judged, judged_samples
from soak.spans import observed_seconds
from soak.watching import Watching
from traffic.sample import Outcome
from traffic.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from detectors.finding import Finding
    from soak.folder import SoakFolder
    from soak.live import View
    from stack.runtime import Runtime
    from traffic.engines import Engine
    from traffic.pieces import Piece as PieceJournal
    from traffic.sample import Sample
    from traffic.target import Target

CHECKPOINT_SECONDS = 5.0
LOOK_SECONDS = 10.0
HOUR_SECONDS = 3600.0
# A tick that comes later than this was no tick: the machine slept, or gave us no time.
ASLEEP_SECONDS = 10.0
# What is in flight when a soak is stopped hard is given up after this.
STOP_SECONDS = 1.0
# A timer may be a hair early: a minute does not wait another second for that.
EARLY_SECONDS = 0.05


@dataclass
class Ending:
    """How a piece ended; `failed` is why it was stopped."""

    kind: str = COMPLETED
    failed: list[Finding] = field(default_factory=list)
    at_seconds: float | None = None


class Session:
    """Runs one piece.

    Args:
        folder: of the soak.
        runtime: started.
        earlier: journals of the pieces before this one.
        engine: sends the traffic.
        on_failure: gathers evidence while the system still runs.
    """

    def __init__(
        self,
        folder: SoakFolder,
        runtime: Runtime,
        earlier: list[PieceJournal],
        engine: Engine,
        *,
        on_failure: Callable[[Session, list[Finding]], None],
    ) -> None:
        """See the class."""
        header, profiles = folder.header, runtime.stack.traffic
        self.folder, self.profiles, self._speed = folder, profiles, header.speed
        self.services = [service.name for service in runtime.services]
        self.engine, self.known_seconds = engine, 0.0
        self._cheap_looks = runtime.name == "process"
        self._sampler, self._on_failure = Sampler(runtime), on_failure
        self.identities = self._sampler.identities()
        self.piece = OpenPiece.begin(folder, profiles, self.identities, len(earlier) + 1)
        self.watching = Watching(profiles, header.speed)
        self.history = History(profiles, self.services, header.speed)
        begin = self.piece.begin_seconds
        self.collector = Collector(profiles, self.piece.journal, self, begin)
        self.planned = Schedule(profiles, header.speed).planned_requests(header.seconds)
        self.judges = Judges(
            self.collector,
            self.watching,
            self.history,
            planned=self.planned,
            services=self.services,
            speed=header.speed,
        )
        number = self.piece.piece.number
        self.minutes = MinuteWriter(folder, self._sampler, self.collector, self.history, number)
        self.ending, self.closed = Ending(), False
        self._give_up: Callable[[], object] = lambda: None
        self._sending = False
        self._tick = self._checkpoint = self._look = self._hour = begin
        self._boundary = begin + MINUTE_SECONDS
        self._observed_before = observed_seconds(folder.pieces()[:-1])
        self._replay(earlier)

    def _replay(self, earlier: list[PieceJournal]) -> None:
        """What earlier pieces left, so that the whole soak is judged."""
        from soak.figures import read_minutes

        for sample in judged_samples(earlier, self.folder.pieces()):
            self.history.add(sample)
            self.collector.replay(sample)
            self.watching.note_lag(sample)
        ended = 0
        for minute in read_minutes(self.folder) if earlier else ():
            ended += sum(row["requests"] for row in minute["profiles"].values())
            for name, memory in self.history.memory.items():
                row = minute["services"].get(name)
                memory.add(minute["end_seconds"], ended, row and row["memory_bytes"])

    def started(self, profile: int, step: int, sequence: int, at: float) -> None:
        """A request was sent; one that was due while we stood still waits since we woke up."""
        self._notice_sleep(self.piece.now())
        awake = max((awake for _, awake in self.piece.piece.sleeps), default=at)
        self.watching.started(profile, step, sequence, max(at, awake))

    def ended(self, sample: Sample) -> None:
        """A request ended."""
        self.watching.ended(sample)
        self.history.add(sample)

    def on_sample(self, sample: Sample, text: str | None) -> None:
        """A request ended, perhaps while we stood still."""
        self._notice_sleep(self.piece.now())
        self.collector.keep(sample, text)
        judged = as_judged(sample, self.piece.piece.sleeps)
        if judged is None and sample.outcome not in {Outcome.NOT_SENT, Outcome.LATE}:
            judged = replace(sample, outcome=Outcome.UNFINISHED)
        if judged:
            self.collector.count_in(judged, text)

    def _notice_sleep(self, now: float) -> None:
        """Nobody looked for a while; gathering evidence of a stop may take as long."""
        if now - self._tick > ASLEEP_SECONDS and not self._stop.is_set():
            self.piece.slept(self._tick, now)
        self._tick = now

    def run(self, target: Target, view: View) -> Ending:
        """Run until the asked time is observed, something fails, or somebody ends it."""
        try:
            with self.piece.journal:
                asyncio.run(self._run(target, view))
            self.closed = True
        except BaseException:
            if self.ending.kind == COMPLETED:  # it is not: Ctrl-C at its very begin, a full disk
                self.ending = self._cut_off()
            raise
        finally:
            now = self.piece.now()
            at, end = self.ending.at_seconds, self.piece.asked_end_seconds
            over = end if at is None else at
            self.piece.write(now, self.identities, self.ending.kind, min(now, over))
        return self.ending

    async def _run(self, target: Target, view: View) -> None:
        self._stop, self._tick = asyncio.Event(), self.piece.now()
        # From the first moment: a Ctrl-C that nobody is told of would break everything off.
        with told_of_signals(asyncio.get_running_loop(), self._interrupt):
            await asyncio.to_thread(self.minutes.begin, self.identities)
            self.judges.saw(self.piece.now(), self.identities)
            self._traffic = asyncio.create_task(self._send(target))
            self._give_up, self._sending = self._traffic.cancel, True
            try:
                await self._watch(view)
            finally:
                self._traffic.cancel()
                with suppress(asyncio.CancelledError):
                    await self._traffic
        await self._last_look()

    async def _send(self, target: Target) -> None:
        await self.engine.run_traffic(
            self.profiles,
            target,
            start=self.piece.start,
            stop=self._stop,
            duration_seconds=self.piece.asked_end_seconds,
            on_sample=self.on_sample,
            on_start=self.collector.on_start,
            speed=self._speed,
            begin_seconds=self.piece.begin_seconds,
        )

    async def _watch(self, view: View) -> None:
        """Tick each second until the time is over and the last answer is there."""
        second, begin = 0, self.piece.begin_seconds
        while not self._over():
            second = max(second + 1, int(self.piece.now() - begin))
            await self._wait_until(begin + second)
            await self._each_second(self.piece.now(), view)

    def _over(self) -> bool:
        """Whether all is sent and answered; what broke the traffic breaks the soak."""
        if not self._traffic.done():
            return False
        if not self._traffic.cancelled():
            self._traffic.result()
        return self._stop.is_set() or self.piece.now() >= self.piece.asked_end_seconds

    async def _wait_until(self, seconds: float) -> None:
        """Wait for the next tick, or for what comes before it: the last answer, the end."""
        now, end = self.piece.now(), self.piece.asked_end_seconds
        if self._traffic.done():
            await asyncio.sleep(max(0.0, min(seconds, end) - now))
        else:
            await asyncio.wait({self._traffic}, timeout=max(0.0, seconds - now))

    async def _each_second(self, now: float, view: View) -> None:
        self._notice_sleep(now)
        await self._look_at_services(now)
        await self._stop_for(now, self.judges.each_second(self.engine.known_seconds(now)))
        if now >= self._boundary - EARLY_SECONDS:
            # From the begin of the piece, so that late ticks don't add up to a lost minute.
            minutes = (now + EARLY_SECONDS - self.piece.begin_seconds) // MINUTE_SECONDS + 1
            self._boundary = self.piece.begin_seconds + minutes * MINUTE_SECONDS
            await self._close_minute(now)
            await self._stop_for(now, self.judges.each_minute())
        if now - self._hour >= HOUR_SECONDS:
            self._hour = now
            await self._stop_for(now, self.judges.each_hour())
        if now - self._checkpoint >= CHECKPOINT_SECONDS:
            self._checkpoint = now
            await asyncio.to_thread(self.piece.write, now, self.identities)
        if view.due(now):
            view.show(snapshot_of(self, now))

    async def _look_at_services(self, now: float) -> None:
        """Each second where it costs nothing, else every ten."""
        if self._cheap_looks:
            self.identities = self._sampler.identities()
        elif now - self._look >= LOOK_SECONDS:
            self._look = now
            self.identities = await asyncio.to_thread(self._sampler.identities)
        else:
            return
        self.judges.saw(now, self.identities)

    async def _close_minute(self, now: float, *, partial: bool = False) -> None:
        over, restarts = self.collector.next_minute(now), self.judges.restarts()
        arguments = (over, now, self.identities, restarts)
        await asyncio.to_thread(self.minutes.write, *arguments, partial=partial)

    async def _stop_for(self, now: float, failed: list[Finding]) -> None:
        """Where something failed for good: keep what can be seen of it, then end.

        At once: whoever presses Ctrl-C, or whatever breaks, after it was seen hides nothing.
        """
        if not failed or self.ending.kind == STOPPED:
            return
        self.ending = Ending(STOPPED, failed, now)
        self._stop.set()
        # First of all: a soak that failed can't be gone on with, also when we are killed now.
        self.piece.write(now, self.identities, STOPPED, now)
        await asyncio.to_thread(self._on_failure, self, failed)
        await asyncio.wait({self._traffic}, timeout=STOP_SECONDS)
        self._traffic.cancel()

    def _interrupt(self) -> None:
        """The first signal lets answers come in, the second waits for nothing."""
        if self._stop.is_set():
            self._give_up()
        elif self.ending.kind == COMPLETED:
            self.ending = self._cut_off()
        self._stop.set()

    def _cut_off(self) -> Ending:
        """Ended by ourselves; before the first request was sent none was due."""
        at = self.piece.now() if self._sending else self.piece.begin_seconds
        return Ending(INTERRUPTED, [], at)

    def observed_seconds(self, now: float) -> float:
        """What was observed until now, in all pieces."""
        piece = replace(self.piece.piece, end_seconds=now)
        return self._observed_before + observed_seconds([piece])

    async def _last_look(self) -> None:
        now = self.piece.now()
        self.known_seconds = self.engine.known_seconds(now)
        self.identities = await asyncio.to_thread(self._sampler.identities)
        self.judges.saw(now, self.identities)
        minute = self.collector.minute
        if now - minute.begin_seconds >= 1.0 or minute.log.overall().count:
            await self._close_minute(now, partial=True)
