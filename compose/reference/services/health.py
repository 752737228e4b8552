"""The container health check: `python -m services.health NAME` exits 0 where /readyz answers 200.

Every container runs it every few seconds, so it imports next to nothing: a plain socket
and one line of HTTP/1.0 start in a third of the time that `http.client` takes.
"""

import socket
import sys

from services.kit.ports import PORTS

TIMEOUT_SECONDS = 2.0
_BAD_ARGUMENTS = 64
_REQUEST = b"GET /readyz HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def main(argv: list[str]) -> int:
    """0 where the service is ready, 1 where it isn't or doesn't answer in time."""
    if len(argv) != 1 or argv[0] not in PORTS:
        print(f"error: expected one of {', '.join(PORTS)}, got {argv}", file=sys.stderr)
        return _BAD_ARGUMENTS
    try:
        status = _status(PORTS[argv[0]])
    except OSError as problem:
        print(f"not ready: {problem}", file=sys.stderr)
        return 1
    if status != b"200":
        print(f"not ready: expected 200, got {status.decode('ascii', 'replace')}", file=sys.stderr)
        return 1
    return 0


def _status(port: int) -> bytes:
    """The status code of the answer, as it stands in its first line."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS) as connection:
        connection.sendall(_REQUEST)
        with connection.makefile("rb") as answer:
            words = answer.readline(200).split()
    return words[1] if len(words) > 1 and words[0].startswith(b"HTTP/") else b"no HTTP"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
