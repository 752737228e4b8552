"""The Locust master, as a process of its own: `python -m traffic.locust_master HOST PORT`.

Locust patches sockets, threads and time of the process that imports it (gevent). The soak
is an asyncio program whose journal and sampler need real ones, so the master does not live
in it: it is this child, which checks who the workers are, tells them the time, and hands
on what they say. It judges nothing. Events go to stdout and commands come from stdin, one
JSON line each; when stdin ends, whoever started it is gone, and it sends the workers home.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import gevent  # type: ignore[import-untyped]
import locust.runners
from gevent.fileobject import FileObject  # type: ignore[import-untyped]
from locust.env import Environment
from locust.exception import RPCError

from traffic.clock import boottime_seconds
from traffic.locust_wire import MESSAGE, TO_WORKER, RefusedError, Seal, nonce, token_of

if TYPE_CHECKING:
    from collections.abc import Callable

_FROM_WORKERS = {"client_ready", "heartbeat", MESSAGE}
_LAST_WORDS_SECONDS = 0.5


def emit(event: str, **fields: object) -> None:
    """Tell the soak."""
    print(json.dumps({"event": event, **fields}), flush=True)


class _Runner(locust.runners.MasterRunner):
    """Locust's master without its users and its statistics; no message can make it deaf."""

    def handle_message(self, client_id: str, msg: Any) -> None:  # noqa: ANN401 - Locust's own
        """Take what a worker may say; what is malformed is somebody else's, and dropped."""
        if msg.type not in _FROM_WORKERS or msg.node_id != client_id:
            return
        try:
            super().handle_message(client_id, msg)
        except Exception as problem:  # noqa: BLE001 - anybody may send anything to this port
            emit("stranger", why=f"{type(problem).__name__} in a {msg.type} message")

    def client_listener(self) -> None:  # type: ignore[override]
        """Listen for ever, also after bytes that are no message at all."""
        while True:
            try:
                super().client_listener()
            except Exception as problem:  # noqa: BLE001 - as above
                emit("stranger", why=f"{type(problem).__name__} in a message")


class _Peer:
    """A connection on its way to be a worker's.

    Args:
        token_seal: checks the first message; a fresh one for each peer.
    """

    def __init__(self, token_seal: Seal) -> None:
        """Nothing is proven yet."""
        self.seal, self.token_seal = token_seal, token_seal
        self.proven = False


class Master:
    """Lets workers in and passes messages on.

    Args:
        token: shared with the workers.
        send: sends a message to a client of Locust's.
    """

    def __init__(self, token: bytes, send: Callable[[str, dict[str, Any]], None]) -> None:
        """Nobody is here yet."""
        self._token, self._send = token, send
        self._peers: dict[str, _Peer] = {}

    def hear(self, client: str, data: object) -> None:
        """Take a message; one that can't be believed ends the conversation."""
        peer = self._peers.get(client) or _Peer(Seal(self._token, TO_WORKER))
        try:
            found = peer.seal.open(data)
        except RefusedError as problem:
            self._refuse(client, peer, str(problem))
            return
        self._take(client, peer, found)

    def _refuse(self, client: str, peer: _Peer, why: str) -> None:
        if peer.proven:
            # Might be anybody's; a message that is missing shows at the next one.
            emit("doubt", worker=client, why=why)
        else:
            emit("stranger", why=why)
            self._peers.pop(client, None)
            self._send(client, {"refused": True})

    def _take(self, client: str, peer: _Peer, found: dict[str, Any]) -> None:
        kind = found.pop("kind")
        if peer.seal is peer.token_seal:
            mine = nonce()
            self._peers[client] = peer
            self._send(client, peer.seal.wrap("challenge", nonce=mine, echo=found["nonce"]))
            peer.seal = peer.seal.session(found["nonce"], mine)
        elif kind == "time":
            self.tell(client, "time", asked=found["asked"], master=boottime_seconds())
        elif kind == "prove":
            peer.proven = True
        else:
            emit(kind, worker=client, **found)

    def tell(self, client: str, kind: str, **fields: object) -> None:
        """Say something to a worker."""
        if peer := self._peers.get(client):
            self._send(client, peer.seal.wrap(kind, **fields))

    def obey(self, command: dict[str, Any]) -> None:
        """What the soak wants to be said, to one worker or to all."""
        worker, kind = command.pop("worker", None), command.pop("command")
        for client in [worker] if worker else [*self._peers]:
            self.tell(client, kind, **command)


def main(host: str, port: int) -> int:
    """Listen until stdin ends."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):
            # Meant for the soak, which lets the last answers come in and then ends us.
            signal.signal(number, signal.SIG_IGN)
    environment = Environment()
    try:
        runner = _Runner(environment, host, port)
    except (SystemExit, RPCError, OSError) as problem:
        # Locust itself ends the process for a port in use, unless it does not recognise that.
        why = "in use" if isinstance(problem, SystemExit) else problem
        emit("failed", why=f"{host}:{port} can't be used ({why}): give the master another address")
        return 1
    environment.runner = runner
    master = Master(token_of(os.environ), lambda to, data: runner.send_message(MESSAGE, data, to))
    runner.register_message(MESSAGE, lambda msg, **_: master.hear(msg.node_id, msg.data))
    emit("listening", port=runner.server.port, locust=locust.__version__)
    for line in FileObject(sys.stdin.fileno(), "rb", close=False):
        master.obey(json.loads(line))
    # Of no meaning to those who were told that the run is done.
    master.obey({"command": "dismiss", "why": "the soak ended before its time"})
    gevent.sleep(_LAST_WORDS_SECONDS)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], int(sys.argv[2])))
