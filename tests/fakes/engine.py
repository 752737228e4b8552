"""A fake Docker engine at a Unix socket: it answers /_ping, /version and /info."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Handler(BaseHTTPRequestHandler):
    """Every answer is the same document."""

    def do_GET(self) -> None:
        root = getattr(self.server, "root", "/")
        value = {"ApiVersion": "1.41", "Version": "20.10.24", "DockerRootDir": str(root)}
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """No access log."""


@contextlib.contextmanager
def fake_engine(socket: Path, root: Path) -> Iterator[str]:
    """Serve at `socket` inside the block; the value for DOCKER_HOST."""
    server = socketserver.ThreadingUnixStreamServer(str(socket), _Handler)
    server.root = root  # type: ignore[attr-defined]  # the handler reads it
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"unix://{socket}"
    finally:
        server.shutdown()
        server.server_close()
