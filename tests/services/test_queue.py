"""The queue: durable, ordered by priority, leased, given back; the same on SQLite and Redis."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from service_backends import BOTH

from services.kit.settings import SettingsError
from services.queue import LEASE_SECONDS, Message, NewMessage, open_queue
from services.queue.sqlite import SqliteQueue

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from typing import Any, TypeVar

    from service_backends import Backend

    from services.queue import Priority, Queue

    T = TypeVar("T")

BACKENDS = BOTH


class Bench:
    """A queue opened twice, as by two processes; time passes when a test says so."""

    def __init__(self, backend: Backend, runner: asyncio.Runner) -> None:
        """Open the queue as the publisher and as a consumer would."""
        self.backend = backend
        self._runner = runner
        self.now = 1000.0
        self.queue, self.other = self.open(), self.open()

    def open(self) -> Queue:
        if self.backend.servers is None:
            path = f"{self.backend.environ['STATE_FOLDER']}/queue.db"
            return SqliteQueue(path, lambda: self.now)
        return open_queue(self.backend.settings("executor").queue_url)

    def run(self, action: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(action)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        if self.backend.servers is not None:
            self.backend.pass_time(seconds)

    def publish(self, *jobs: tuple[str, Priority]) -> None:
        messages = [NewMessage(name, priority, {"target": name}) for name, priority in jobs]
        self.run(self.queue.publish(messages))

    def claim(self, count: int = 1, queue: Queue | None = None) -> Sequence[Message]:
        return self.run((queue or self.other).claim(count))

    def claim_names(self, count: int) -> list[str]:
        return [message.job_id for message in self.claim(count)]

    def length(self) -> int:
        return self.run(self.queue.length())


@pytest.fixture
def bench(backend: Backend) -> Iterator[Bench]:
    with asyncio.Runner() as runner:
        bench = Bench(backend, runner)
        yield bench
        for queue in (bench.queue, bench.other):
            bench.run(queue.close())


def test_high_comes_before_normal_before_low_then_first_come(bench: Bench) -> None:
    bench.publish(("a", "low"), ("b", "high"), ("c", "normal"), ("d", "high"))
    assert bench.claim_names(10) == ["b", "d", "c", "a"]


def test_a_message_that_comes_back_keeps_its_place(bench: Bench) -> None:
    bench.publish(("a", "low"), ("b", "low"), ("c", "high"))
    bench.claim(2)
    bench.pass_time(LEASE_SECONDS)
    bench.publish(("d", "high"))
    assert bench.claim_names(10) == ["c", "d", "a", "b"]


def test_a_claim_is_bounded_and_exclusive(bench: Bench) -> None:
    bench.publish(("a", "low"), ("b", "low"), ("c", "low"))
    assert bench.claim_names(2) == ["a", "b"]
    assert bench.claim_names(2) == ["c"]
    assert bench.claim_names(2) == []


def test_publishing_again_changes_nothing(bench: Bench) -> None:
    bench.publish(("a", "low"))
    bench.publish(("a", "high"), ("a", "normal"))
    assert bench.claim_names(5) == ["a"]
    bench.publish(("a", "low"))
    assert bench.claim_names(5) == []
    assert bench.length() == 1


def test_a_job_published_twice_at_once_is_queued_once(bench: Bench) -> None:
    bench.publish(("a", "low"), ("a", "high"))
    assert bench.claim_names(5) == ["a"]


def test_the_body_arrives_as_it_was_published(bench: Bench) -> None:
    body = {"target": "http://x/ü", "strategy": 'a "quoted" one\n'}
    bench.run(bench.queue.publish([NewMessage("a", "low", body)]))
    (message,) = bench.claim()
    assert message.body == body
    assert message.deliveries == 1


def test_a_message_comes_back_when_its_lease_ends(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (first,) = bench.claim()
    bench.pass_time(LEASE_SECONDS - 2)
    assert bench.claim() == []
    bench.pass_time(2)
    (second,) = bench.claim()
    assert second.deliveries == 2
    assert second.receipt != first.receipt


def test_an_extended_lease_does_not_end(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (message,) = bench.claim()
    bench.pass_time(LEASE_SECONDS - 2)
    assert bench.run(bench.other.extend(message))
    bench.pass_time(LEASE_SECONDS - 2)
    assert bench.claim() == []
    assert bench.run(bench.other.acknowledge(message))


def test_an_extension_is_no_delivery(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (message,) = bench.claim()
    assert bench.run(bench.other.extend(message))
    bench.pass_time(LEASE_SECONDS)
    assert [again.deliveries for again in bench.claim()] == [2]


@pytest.mark.parametrize("same_process", [True, False])
def test_whoever_lost_the_lease_can_do_nothing(bench: Bench, *, same_process: bool) -> None:
    """A process that claims the same message again has two receipts, and one that counts."""
    bench.publish(("a", "low"))
    (late,) = bench.claim()
    bench.pass_time(LEASE_SECONDS)
    winner = bench.other if same_process else bench.queue
    (current,) = bench.claim(queue=winner)
    for loser in (bench.other, bench.queue):
        assert not bench.run(loser.extend(late))
        assert not bench.run(loser.acknowledge(late))
        assert not bench.run(loser.release(late))
        assert not bench.run(loser.dead(late, "late"))
    assert bench.backend.dead() == []
    assert bench.run(winner.acknowledge(current))


def test_a_late_receipt_still_counts_while_nobody_else_has_claimed(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (message,) = bench.claim()
    bench.pass_time(2 * LEASE_SECONDS)
    assert bench.run(bench.other.acknowledge(message))
    assert bench.length() == 0


def test_an_acknowledged_message_never_comes_back(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (message,) = bench.claim()
    assert bench.run(bench.other.acknowledge(message))
    assert not bench.run(bench.other.acknowledge(message))
    bench.pass_time(10 * LEASE_SECONDS)
    assert bench.claim() == []


def test_an_acknowledged_job_may_be_published_anew(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (message,) = bench.claim()
    bench.run(bench.other.acknowledge(message))
    bench.publish(("a", "high"))
    assert bench.claim_names(5) == ["a"]


def test_a_released_message_comes_back_at_once(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (message,) = bench.claim()
    assert bench.run(bench.other.release(message))
    assert [again.job_id for again in bench.claim(queue=bench.queue)] == ["a"]


def test_a_dead_message_is_kept_for_people_only(bench: Bench) -> None:
    bench.publish(("a", "low"))
    (message,) = bench.claim()
    assert bench.run(bench.other.dead(message, "unknown job"))
    bench.pass_time(10 * LEASE_SECONDS)
    assert bench.claim() == []
    assert bench.backend.dead() == [("a", "unknown job")]
    assert bench.length() == 0


def test_a_failed_publish_leaves_nothing_half_done(bench: Bench) -> None:
    bad = NewMessage("b", "urgent", {})  # type: ignore[arg-type]  # what a caller must not do
    with pytest.raises((KeyError, ValueError)):
        bench.run(bench.queue.publish([NewMessage("a", "low", {}), bad]))
    assert bench.claim() == []


def test_the_length_counts_what_waits_and_what_is_leased(bench: Bench) -> None:
    assert bench.length() == 0
    bench.publish(("a", "low"), ("b", "high"))
    (message,) = bench.claim()
    assert bench.length() == 2
    bench.run(bench.other.acknowledge(message))
    assert bench.length() == 1


def test_two_consumers_never_get_the_same_message(bench: Bench) -> None:
    bench.publish(*((f"job-{number}", "normal") for number in range(40)))

    async def race() -> list[str]:
        claims = [queue.claim(3) for _ in range(8) for queue in (bench.queue, bench.other)]
        return [message.job_id for got in await asyncio.gather(*claims) for message in got]

    names = bench.run(race())
    assert len(names) == len(set(names)) == 40


def test_a_message_is_there_after_everybody_left(bench: Bench) -> None:
    """Closed with a lease in hand: the message must not leave with its holder."""
    bench.publish(("a", "low"), ("b", "low"))
    bench.claim()
    bench.run(bench.other.close())
    bench.pass_time(LEASE_SECONDS)
    assert [message.job_id for message in bench.claim(5, bench.queue)] == ["a", "b"]


def test_an_unknown_kind_of_queue_is_refused() -> None:
    with pytest.raises(SettingsError, match="QUEUE_URL: expected sqlite"):
        open_queue("kafka://somewhere")
