"""48 hours of samples through everything that keeps something, by a simulated clock."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import psutil
import pytest

from common.options import REFERENCE_STACK
from detectors.finding import FAILED, PASSED
from soak.collector import Collector
from soak.folder import SoakFolder
from soak.header import Header
from soak.history import History
from soak.judges import Judges, counts_of
from soak.minute_writer import MinuteWriter
from soak.sampler import USS, Sampler, Usage
from soak.watching import Watching
from stack.identity import Identity
from stack.load import load_stack
from traffic.sample import Outcome, Sample
from traffic.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

HOURS_48 = 48 * 3600
MEBIBYTE = 1 << 20
SERVICES = ("gateway", "executor")


class NoDisk:
    """A journal that forgets: what is on the disk takes no memory."""

    def add(self, sample: Sample, text: str | None = None) -> None:
        """Take one sample."""


class FakeSampler(Sampler):
    """Services that use what a test says."""

    def __init__(self, memory: Callable[[str, float], float]) -> None:
        self.memory, self.now = memory, 0.0

    def usage(self, identities: Mapping[str, Identity | None]) -> dict[str, Usage | None]:
        return {
            name: Usage(int(self.memory(name, self.now)), USS, self.now / 100, 1, 10, 2, 3)
            for name in identities
        }


class Simulation:
    """A soak of the reference system's traffic without a clock, a system or a disk."""

    def __init__(self, folder: SoakFolder, memory: Callable[[str, float], float]) -> None:
        self.profiles = load_stack(REFERENCE_STACK, {}).traffic
        self.watching = Watching(self.profiles)
        self.history = History(self.profiles, SERVICES)
        self.collector = Collector(self.profiles, NoDisk(), self, 0.0)
        planned = Schedule(self.profiles).planned_requests(HOURS_48)
        self.judges = Judges(
            self.collector, self.watching, self.history, services=SERVICES, planned=planned
        )
        self.sampler = FakeSampler(memory)
        self.minutes = MinuteWriter(folder, self.sampler, self.collector, self.history, 1)
        self.identities: dict[str, Identity | None] = {
            name: Identity(f"{name}@1", pid=1) for name in SERVICES
        }

    def started(self, profile: int, step: int, sequence: int, at: float) -> None:
        self.watching.started(profile, step, sequence, at)

    def ended(self, sample: Sample) -> None:
        self.watching.ended(sample)
        self.history.add(sample)

    def run(self, seconds: float, answer: Callable[[Sample], Sample]) -> Iterator[int]:
        """Yields each minute that is over."""
        minute = 0
        for start in Schedule(self.profiles).starts(0, seconds):
            while start.intended_seconds >= (minute + 1) * 60:
                minute += 1
                self._close(minute * 60.0)
                yield minute
            profile = self.profiles[start.profile]
            for step in range(len(profile.steps)):
                self._ask(start.profile, step, start.sequence, start.intended_seconds, answer)
        self._close(seconds)

    def _ask(
        self, profile: int, step: int, sequence: int, at: float, answer: Callable[[Sample], Sample]
    ) -> None:
        self.collector.on_start(profile, step, sequence, at)
        self.collector.on_sample(answer(answered(profile, step, sequence, at)), None)

    def _close(self, now: float) -> None:
        self.sampler.now = now
        self.judges.saw(now, self.identities)
        over = self.collector.next_minute(now)
        self.minutes.write(over, now, self.identities, self.judges.restarts())


def answered(profile: int, step: int, sequence: int, at: float) -> Sample:
    """A good answer; latencies go up and down a little."""
    latency = 0.010 + (sequence * 7919 % 97) / 10_000
    return Sample(profile, step, sequence, at, at, at + 0.002, at + 0.003, at + latency)


class Forgetful(SoakFolder):
    """A folder whose minute files are thrown away."""

    def write_minute(self, number: int, value: Mapping[str, object]) -> None:
        assert number == value["minute"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SoakFolder]:
    from soak.clock import now

    header = Header("1", "x", "0", "0", None, None, "process", HOURS_48, 1.0, "aiohttp")
    made = Forgetful.create(tmp_path, header, now())
    yield made
    made.close()


@pytest.mark.slow
def test_memory_stays_flat_over_two_days_of_samples(folder: SoakFolder) -> None:
    simulation = Simulation(folder, lambda _name, _now: 50 * MEBIBYTE)
    minutes, before = 0, 0
    process = psutil.Process()
    for minutes in simulation.run(HOURS_48, lambda sample: sample):
        # What was imported and freed before has settled by then.
        if minutes == 480:
            gc.collect()
            before = process.memory_full_info().uss
    gc.collect()
    grown = process.memory_full_info().uss - before
    assert minutes == 2879
    assert simulation.collector.ended >= 302_400
    assert grown < 5 * MEBIBYTE * 40 / 48
    found = simulation.judges.all(HOURS_48)
    counts = counts_of(found)
    assert {**counts, "not_judged": 0} == dict.fromkeys(counts, 0), [
        item for item in found if item.outcome != PASSED
    ]
    assert counts["not_judged"] == 0


def test_a_leak_of_8_percent_is_found(folder: SoakFolder) -> None:
    simulation = Simulation(folder, lambda _name, _now: MEBIBYTE)
    for now in range(60, HOURS_48 + 1, 60):
        grown = {"gateway": 1.0, "executor": 1 + 0.08 * now / HOURS_48}
        for name, factor in grown.items():
            simulation.history.memory[name].add(now, now, int(50 * MEBIBYTE * factor))
    failed = [item for item in simulation.judges.all(HOURS_48) if item.outcome == FAILED]
    assert [(item.detector, item.subject) for item in failed] == [("leak", "executor")]
    assert [item.subject for item in simulation.judges.each_hour()] == ["executor"]


def broken(sample: Sample, outcome: Outcome, seconds: float = 0.01) -> Sample:
    """The same request, gone wrong."""
    at = sample.intended_seconds
    return Sample(
        sample.profile,
        sample.step,
        sample.sequence,
        at,
        at,
        done_seconds=at + seconds,
        outcome=outcome,
    )


def test_a_burst_of_errors_is_found_within_the_minute(folder: SoakFolder) -> None:
    simulation = Simulation(folder, lambda _name, _now: MEBIBYTE)

    def answer(sample: Sample) -> Sample:
        bad = 3600 <= sample.intended_seconds < 4200 and sample.sequence % 10 == 0
        return broken(sample, Outcome.WRONG) if bad else sample

    found_at = 0
    for minute in simulation.run(2 * 3600, answer):
        if failed := simulation.judges.each_minute():
            assert {item.detector for item in failed} == {"error_burst"}
            found_at = minute
            break
    assert 60 <= found_at <= 75


def test_a_rise_of_latency_is_found(folder: SoakFolder) -> None:
    simulation = Simulation(folder, lambda _name, _now: MEBIBYTE)

    def answer(sample: Sample) -> Sample:
        return broken(sample, Outcome.OK, 0.05) if sample.intended_seconds > 7200 else sample

    found: list[str] = []
    for _ in simulation.run(4 * 3600, answer):
        found += [item.detector for item in simulation.judges.each_minute()]
    assert set(found) == {"spikes"}


def test_the_first_time_out_is_found_with_its_request(folder: SoakFolder) -> None:
    simulation = Simulation(folder, lambda _name, _now: MEBIBYTE)
    chat = simulation.collector.names.index("chat")

    def answer(sample: Sample) -> Sample:
        hit = (sample.profile, sample.sequence) == (chat, 100)
        return broken(sample, Outcome.TIMEOUT, 10) if hit else sample

    for _ in simulation.run(300, answer):
        pass
    failed = simulation.judges.each_second(300)
    assert [item.detector for item in failed] == ["timeouts"]
    assert "chat number 100" in failed[0].detail


def test_errors_stop_a_soak_only_when_it_can_no_longer_pass(folder: SoakFolder) -> None:
    """One error in the first ten requests is 10 %, and nothing in 48 hours."""
    simulation = Simulation(folder, lambda _name, _now: MEBIBYTE)
    for _ in simulation.run(120, lambda sample: broken(sample, Outcome.WRONG)):
        assert simulation.judges.each_second(120) == []
    allowed = simulation.judges._planned * 0.005
    for _ in simulation.run(3600, lambda sample: broken(sample, Outcome.WRONG)):
        over = simulation.collector.errors > allowed
        found = {item.detector for item in simulation.judges.each_second(3600)}
        assert ("errors" in found) == over
        if over:
            return
    pytest.fail("expected more errors than 48 hours may have")
