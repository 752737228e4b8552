"""The queue of Redis Streams: what is Redis' own, its groups, its memory and its restarts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from service_servers import PASSWORD

from services.kit import background
from services.queue import (
    LEASE_SECONDS,
    NewMessage,
    QueueFullError,
    QueueUnavailableError,
    open_queue,
)
from services.queue import redis as redis_queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service_protocols import Serve, SettingsFor
    from service_servers import Servers

    from services.queue import Queue

    Run = Callable[..., Any]

pytestmark = pytest.mark.docker

STREAM = "jobs:stream:low"


@pytest.fixture
def redis(servers: Servers) -> Servers:
    """A server whose queue is empty."""
    servers.command("FLUSHALL")
    return servers


@pytest.fixture
def run() -> Iterator[Run]:
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def queue(redis: Servers, run: Run) -> Iterator[Queue]:
    queue = open_queue(url(redis))
    yield queue
    run(queue.close())


def url(servers: Servers, password: str = PASSWORD) -> str:
    from urllib.parse import quote

    return f"redis://:{quote(password, safe='')}@127.0.0.1:{servers.redis.port}/0"


def message(number: int) -> NewMessage:
    return NewMessage(f"job-{number}", "low", {"number": str(number)})


def names(found: Any) -> list[str]:
    return [one.job_id for one in found]


def test_each_priority_has_its_stream(queue: Queue, redis: Servers, run: Run) -> None:
    for priority in ("high", "normal", "low"):
        run(queue.publish([NewMessage(priority, priority, {})]))
        assert redis.command("XLEN", f"jobs:stream:{priority}") == 1


def test_the_message_of_a_consumer_that_was_killed_is_reclaimed(
    queue: Queue, redis: Servers, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Redis' own clock: nobody says that the lease is over."""
    monkeypatch.setattr(redis_queue, "LEASE_SECONDS", 0.3)
    killed = open_queue(url(redis))
    run(queue.publish([message(1)]))
    assert names(run(killed.claim(1))) == ["job-1"]
    assert run(queue.claim(1)) == []
    run(asyncio.sleep(0.35))
    (again,) = run(queue.claim(1))
    assert again.deliveries == 2
    run(killed.close())


def test_a_full_queue_takes_all_or_nothing_and_loses_nothing(
    queue: Queue, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_queue, "MOST_MESSAGES", 3)
    run(queue.publish([message(1), message(2)]))
    with pytest.raises(QueueFullError, match="at most 3 messages"):
        run(queue.publish([message(3), message(4)]))
    assert run(queue.length()) == 2
    run(queue.publish([message(1), message(2), message(3)]))
    first, *_ = found = run(queue.claim(10))
    assert names(found) == ["job-1", "job-2", "job-3"]
    with pytest.raises(QueueFullError):
        run(queue.publish([message(4)]))
    run(queue.acknowledge(first))
    run(queue.publish([message(4)]))


def test_what_is_known_is_no_error_in_a_full_queue(
    queue: Queue, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(queue.publish([message(1)]))
    monkeypatch.setattr(redis_queue, "MOST_MESSAGES", 0)
    run(queue.publish([message(1)]))


def test_the_dead_are_kept_with_their_story_and_bounded(
    queue: Queue, redis: Servers, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_queue, "DEAD_KEPT", 100)
    for number in range(400):
        run(queue.publish([message(number)]))
        (found,) = run(queue.claim(1))
        assert run(queue.dead(found, "unknown job"))
    # Redis drops whole nodes of 100 entries: never below the bound, a node above it at most.
    assert 100 <= redis.command("XLEN", "jobs:dead") <= 200
    ((_, newest),) = redis.command("XREVRANGE", "jobs:dead", "+", "-", "COUNT", 1)
    assert newest.pop("died_at_milliseconds").isdecimal()
    assert newest == {
        "job_id": "job-399", "body": '{"number": "399"}', "deliveries": "1",
        "reason": "unknown job",
    }  # fmt: skip
    assert redis.command("HLEN", "jobs:ids") == 0


def test_nothing_is_left_of_what_was_acknowledged(queue: Queue, redis: Servers, run: Run) -> None:
    run(queue.publish([message(number) for number in range(5)]))
    for found in run(queue.claim(5)):
        run(queue.acknowledge(found))
    assert redis.command("XLEN", STREAM) == redis.command("HLEN", "jobs:ids") == 0
    assert redis.pending(STREAM) == []


def test_a_lost_group_is_made_again_and_what_was_leased_is_given_out(
    queue: Queue, redis: Servers, run: Run
) -> None:
    run(queue.publish([message(1), message(2)]))
    (held,) = run(queue.claim(1))
    redis.command("XGROUP", "DESTROY", STREAM, "executors")
    assert not run(queue.extend(held))
    assert not run(queue.acknowledge(held))
    assert names(run(queue.claim(5))) == ["job-1", "job-2"]


def test_a_flushed_server_takes_the_same_jobs_again(queue: Queue, redis: Servers, run: Run) -> None:
    run(queue.publish([message(1)]))
    (held,) = run(queue.claim(1))
    redis.command("FLUSHALL")
    assert run(queue.length()) == 0
    run(queue.publish([message(1)]))
    assert not run(queue.acknowledge(held))
    assert names(run(queue.claim(5))) == ["job-1"]


def test_a_stream_that_was_lost_alone_takes_its_jobs_again(
    queue: Queue, redis: Servers, run: Run
) -> None:
    """The note that the job is queued is not believed where its entry is gone."""
    run(queue.publish([message(1)]))
    redis.command("DEL", STREAM)
    run(queue.publish([message(1)]))
    assert names(run(queue.claim(5))) == ["job-1"]


def test_scripts_that_the_server_forgot_are_sent_again(
    queue: Queue, redis: Servers, run: Run
) -> None:
    run(queue.publish([message(1)]))
    redis.command("SCRIPT", "FLUSH")
    assert names(run(queue.claim(5))) == ["job-1"]


def test_consumers_that_left_are_forgotten_but_never_with_messages(
    queue: Queue, redis: Servers, run: Run
) -> None:
    idle, holder = open_queue(url(redis)), open_queue(url(redis))
    run(queue.publish([message(1)]))
    assert names(run(holder.claim(1))) == ["job-1"]
    run(idle.claim(1))
    for leaving in (idle, holder):
        run(leaving.close())
    consumers = redis.command("XINFO CONSUMERS", STREAM, "executors")
    assert [row["pending"] for row in consumers] == [1]


@pytest.mark.parametrize("password", ["wrong", ""])
def test_a_wrong_password_is_one_clear_line(redis: Servers, run: Run, password: str) -> None:
    stranger = open_queue(url(redis, password))
    with pytest.raises(QueueUnavailableError, match=r"password.*QUEUE_PASSWORD") as caught:
        run(stranger.ready())
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    run(stranger.close())


@pytest.mark.parametrize("setting", ["maxmemory", "min-replicas-to-write"])
def test_a_server_that_takes_no_writes_is_not_ready_and_loses_nothing(
    queue: Queue, redis: Servers, run: Run, setting: str
) -> None:
    run(queue.publish([message(1)]))
    redis.command("CONFIG", "SET", setting, 1)
    try:
        with pytest.raises(QueueUnavailableError, match="the queue does not serve"):
            run(queue.ready())
        with pytest.raises(QueueUnavailableError):
            run(queue.publish([message(2)]))
    finally:
        redis.command("CONFIG", "SET", setting, 0)
    run(queue.ready())
    assert names(run(queue.claim(5))) == ["job-1"]


def test_a_server_that_is_away_is_an_error_in_bounded_time(run: Run) -> None:
    away = open_queue("redis://127.0.0.1:1/0")
    with pytest.raises(QueueUnavailableError, match="does not serve"):
        run(asyncio.wait_for(away.ready(), 20))
    run(away.close())


def test_work_on_the_queue_ends_with_its_service(
    queue: Queue, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py under Python 3.11 loses one cancellation in twenty (2026-11-21)."""
    monkeypatch.setattr(background, "ASK_AGAIN_SECONDS", 0.05)

    async def work() -> None:
        while True:
            await queue.claim(1)

    async def end_at_many_moments() -> None:
        for moment in range(200):
            async with asyncio.timeout(20), background.beside(work()) as task:
                await asyncio.sleep(moment / 100_000)
            assert task.cancelled()

    run(end_at_many_moments())


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_two_executors_over_a_restart_get_every_message_and_none_twice(
    redis: Servers, run: Run, how: str
) -> None:
    """Acknowledged is acknowledged once, whatever happens to the server meanwhile."""
    wanted = [message(number) for number in range(200)]
    acknowledged: list[str] = []
    unsure: set[str] = set()

    async def work(queue: Queue) -> None:
        # What is claimed for an answer that got lost comes back when its lease ends.
        left = len(wanted)
        while left:
            try:
                for found in await queue.claim(3):
                    await asyncio.sleep(0.01)
                    unsure.add(found.job_id)
                    if await queue.acknowledge(found):
                        acknowledged.append(found.job_id)
                left = await queue.length()
            except QueueUnavailableError:
                await asyncio.sleep(0.1)

    async def race() -> None:
        queues = [open_queue(url(redis)) for _ in range(2)]
        await queues[0].publish(wanted)
        async with asyncio.timeout(60 + LEASE_SECONDS):
            restart = asyncio.to_thread(getattr(redis.redis, how))
            await asyncio.gather(restart, *(work(queue) for queue in queues))
        for queue in queues:
            await queue.close()

    run(race())
    redis.until_ready()
    assert len(acknowledged) == len(set(acknowledged))
    assert set(acknowledged) | unsure == {one.job_id for one in wanted}
    # At most the answers that were on their way when the server went.
    assert len(unsure - set(acknowledged)) <= 2


def test_a_service_whose_queue_refuses_it_is_not_ready(
    redis: Servers, settings_for: SettingsFor, serve: Serve
) -> None:
    from services.executor.app import build

    settings = settings_for("executor", queue_url=url(redis, "wrong"))
    answer = httpx.get(f"{serve(build(settings)).url}/readyz", trust_env=False)
    assert (answer.status_code, answer.json()["checks"]["queue"]) == (503, "failed")
