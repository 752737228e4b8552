"""A Locust worker: joins a master, sends its part of the traffic, ships every sample.

Only Locust's distributed mode is used: how workers find their master and exchange messages.
Its users, and its statistics, are not. Importing this module patches the whole process
(gevent), so only `run_locust_worker.py` does.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import gevent  # type: ignore[import-untyped]
import locust.runners
from gevent.event import Event  # type: ignore[import-untyped]
from gevent.queue import Queue  # type: ignore[import-untyped]
from locust import __version__ as locust_version
from locust.env import Environment

from common.cli import ConfigurationError, ScriptError
from traffic.clock import boottime_seconds
from traffic.locust_clock import MasterClock
from traffic.locust_exchange import GreenCourier
from traffic.locust_sender import Sender
from traffic.locust_share import Split
from traffic.locust_wire import (
    LOST_SECONDS,
    MESSAGE,
    PROTOCOL,
    TO_MASTER,
    RefusedError,
    Seal,
    code_sha256,
    nonce,
)
from traffic.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from stack.model import Stack
    from traffic.target import Target

BATCH_SECONDS = 1.0
FIRST_ROUND_TRIPS = 10
FIRST_PAUSE_SECONDS, PAUSE_SECONDS = 0.05, 2.0
# Nobody may make a worker do more than this.
_FROM_MASTER = {"ack", "heartbeat", MESSAGE}
# Locust sends from a thread of its own: give it the time for the last messages.
_LAST_WORDS_SECONDS = 0.5


class _Runner(locust.runners.WorkerRunner):
    """Locust's worker without its users and its statistics."""

    def handle_message(self, msg: Any) -> None:  # noqa: ANN401 - Locust's own message
        """Take what a master of ours says; anything else is none of its business."""
        if msg.type in _FROM_MASTER:
            super().handle_message(msg)

    def stats_reporter(self) -> None:  # type: ignore[override]
        """Statistics are made of the samples."""

    def logs_reporter(self) -> None:
        """Logs stay here."""


class Worker:
    """One worker in one run.

    Args:
        stack: what the traffic is of.
        target: where it goes, with the stack's secrets.
        token: shared with the master.
        name: what evidence calls this worker.
        say: prints a line.
    """

    def __init__(
        self, stack: Stack, target: Target, token: bytes, name: str, say: Callable[[str], None]
    ) -> None:
        """Nothing is connected yet."""
        self._stack, self._target, self._name, self._say = stack, target, name, say
        self._token_seal = Seal(token, TO_MASTER)
        self._seal: Seal | None = None
        self._nonce = nonce()
        self._clock = MasterClock(boottime_seconds)
        self._orders: Queue[dict[str, Any]] = Queue()
        self._lost_seconds = LOST_SECONDS
        self._sender: Sender | None = None
        self._ended = Event()
        self._problem: ScriptError | None = None

    def serve(self, host: str, port: int, wait_seconds: float) -> None:
        """Connect, join, work, and end when the master says so.

        Raises:
            ScriptError: no master came, it refused, or it fell silent.
        """
        self._connect(host, port, wait_seconds)
        greenlets = [gevent.spawn(self._ask_the_time), gevent.spawn(self._watch_master)]
        sending = gevent.spawn(self._obey)
        sending.link_exception(lambda _greenlet: self._ended.set())
        try:
            self._send(self._token_seal.wrap("join", nonce=self._nonce))
            self._ended.wait()
        finally:
            gevent.killall(greenlets)
            sending.kill()
            self._leave()
        if self._problem or sending.exception:
            raise self._problem or sending.exception

    def _connect(self, host: str, port: int, wait_seconds: float) -> None:
        locust.runners.CONNECT_RETRY_COUNT = int(wait_seconds / locust.runners.CONNECT_TIMEOUT)
        try:
            self._runner = _Runner(Environment(), host, port)
        except ConnectionError:
            raise ScriptError(
                f"no master at {host}:{port} within {wait_seconds:g} s: start "
                "`run_soak.py --engine locust` there, and let its port through"
            ) from None
        self._runner.register_message(MESSAGE, self._hear)
        # From now on: it may have taken minutes until there was a master.
        self._heard_at = boottime_seconds()
        self._say(f"connected to {host}:{port} as {self._name}")

    def _send(self, message: dict[str, str]) -> None:
        self._runner.send_message(MESSAGE, message)

    def _tell(self, kind: str, **fields: object) -> None:
        # Numbered and queued without a switch of greenlets: the order is the same.
        if self._seal:
            self._send(self._seal.wrap(kind, **fields))

    def _hear(self, msg: Any, **_more: object) -> None:  # noqa: ANN401 - Locust's own message
        heard_at = boottime_seconds()
        if self._seal is None and msg.data.get("refused"):
            self._end(
                ConfigurationError("the master refused: it has another token: use the same one")
            )
            return
        try:
            found = (self._seal or self._token_seal).open(msg.data)
        except RefusedError as problem:
            self._end(ScriptError(f"a message that is not the master's ({problem}): start anew"))
            return
        self._heard_at = heard_at
        self._take(found, heard_at)

    def _take(self, found: dict[str, Any], heard_at: float) -> None:
        match found["kind"]:
            case "challenge" if found["echo"] == self._nonce:
                self._seal = self._token_seal.session(self._nonce, found["nonce"])
                self._tell("prove")
            case "time":
                self._clock.take(found["asked"], found["master"], heard_at)
            case "order":
                self._orders.put(found)
            case "stop" if self._sender:
                self._sender.stop()
            case "done":
                self._end(None)
            case "dismiss":
                self._end(ScriptError(f"sent away: {found['why']}"))
            case "refused":
                self._end(ConfigurationError(f"the master refused: {found['why']}"))

    def _ask_the_time(self) -> None:
        while True:
            known = self._clock.round_trips
            self._tell("time", asked=boottime_seconds())
            gevent.sleep(FIRST_PAUSE_SECONDS if known < FIRST_ROUND_TRIPS else PAUSE_SECONDS)

    def _watch_master(self) -> None:
        while boottime_seconds() - self._heard_at <= self._lost_seconds:
            gevent.sleep(BATCH_SECONDS)
        what = "fell silent" if self._seal else "did not answer"
        self._end(
            ScriptError(f"the master {what} for {self._lost_seconds:g} s: nothing is sent any more")
        )

    def _obey(self) -> None:
        """Introduce ourselves, then send what we are told to."""
        while self._clock.round_trips < FIRST_ROUND_TRIPS:
            gevent.sleep(FIRST_PAUSE_SECONDS)
        self._clock.set()
        self._tell(
            "hello",
            name=self._name,
            protocol=PROTOCOL,
            stack_sha256=self._stack.sha256,
            code_sha256=code_sha256(),
            python=platform.python_version(),
            locust=locust_version,
            clock_bound_seconds=self._clock.bound_seconds(),
        )
        self._say("joined; waiting for the traffic to begin")
        self._work(self._orders.get())

    def _work(self, order: dict[str, Any]) -> None:
        self._lost_seconds = order["lost_seconds"]
        self._clock.set()
        courier = GreenCourier(self._target, self._clock.now, order["start"])
        schedule = Schedule(tuple(self._stack.traffic), order["speed"])
        split = Split(order["index"], order["workers"])
        self._say(f"sending part {split.index + 1} of {split.workers}")
        self._sender = Sender(schedule, split, courier, order["in_flight_limit"])
        work = order["begin_seconds"], order["end_seconds"], order["drain_seconds"]
        sending = gevent.spawn(self._sender.run, *work)
        try:
            while not sending.ready():
                sending.join(timeout=BATCH_SECONDS)
                self._ship()
            sending.get()
        finally:
            sending.kill()
            self._ship()
        self._tell("ended")
        self._say("done")

    def _ship(self) -> None:
        if self._sender:
            self._tell(
                "batch",
                until=self._clock.now(),
                rows=self._sender.take_rows(),
                clock_bound_seconds=self._clock.bound_seconds(),
                worst_lag_seconds=self._sender.worst_lag_seconds,
                most_in_flight=self._sender.most_in_flight,
            )

    def _end(self, problem: ScriptError | None) -> None:
        # Only the first word counts: after `done` the master sends everybody away.
        if not self._ended.is_set():
            self._problem = problem
            self._ended.set()

    def _leave(self) -> None:
        self._tell("leaving")
        gevent.sleep(_LAST_WORDS_SECONDS)
        self._runner.greenlet.kill(block=False)
