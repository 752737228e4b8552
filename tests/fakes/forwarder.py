"""A remote engine: TCP connections forwarded to the local one, until it is cut off."""

from __future__ import annotations

import contextlib
import socket
import threading

ENGINE = "/var/run/docker.sock"
_BLOCK_BYTES = 64 << 10


class Forwarder:
    """Listens on a loopback port from `open` to `cut`; the port stays the same."""

    def __init__(self) -> None:
        self.port = 0
        self._listener: socket.socket | None = None
        self._held = list[socket.socket]()

    @property
    def host(self) -> str:
        """The value for DOCKER_HOST."""
        return f"tcp://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Accept connections."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Refuse new connections and end the others."""
        for item in (self._listener, *self._held):
            if item is not None:
                with contextlib.suppress(OSError):
                    item.shutdown(socket.SHUT_RDWR)
                item.close()
        self._held.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(ENGINE)
                self._held += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_BLOCK_BYTES):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
