"""Who listens on a port: checked before a start, and after it."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil

from common.cli import Exit, ScriptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stack.model import Service

_LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1", "0.0.0.0"}  # noqa: S104 - compared, not bound


@dataclass(frozen=True)
class Listener:
    """A listening TCP port; `pid` is None where the owner is not ours to see."""

    port: int
    pid: int | None


def local_ports(services: Iterable[Service]) -> dict[str, int]:
    """The port of each service whose URL is on this machine."""
    found = {}
    for service in services:
        parts = urlsplit(service.url)
        if parts.hostname in _LOCAL_HOSTS:
            found[service.name] = parts.port or (443 if parts.scheme == "https" else 80)
    return found


def port_is_free(port: int) -> bool:
    """Whether nothing listens on 127.0.0.1:`port` and it can be bound."""
    # Asked first: on some systems a port that is held on all addresses can be bound on one.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.settimeout(1)
        if caller.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as attempt:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            # As servers do: a port in TIME_WAIT is free, a listening one is not.
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def listeners(ports: Iterable[int], pids: Iterable[int] = ()) -> list[Listener]:
    """Everything that listens on one of `ports`.

    Args:
        ports: the ports asked about.
        pids: processes to ask one by one where the system hides the whole table
            from ordinary users (macOS).
    """
    wanted = set(ports)
    try:
        rows = _rows(psutil.net_connections("tcp"))
    except (psutil.AccessDenied, PermissionError):
        rows = [
            row for pid in pids for row in _rows(psutil.Process(pid).net_connections("tcp"), pid)
        ]
    return [Listener(port, pid) for port, pid in rows if port in wanted]


def require_free(ports: Mapping[str, int]) -> None:
    """Refuse to start where a port is taken.

    Raises:
        ScriptError: the first taken port, with its owner where that can be seen.
    """
    taken = {name: port for name, port in ports.items() if not port_is_free(port)}
    if not taken:
        return
    name, port = next(iter(taken.items()))
    more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
    raise ScriptError(
        f"port {port} of {name} is taken by {describe_owner(port)}{more}, nothing was started: "
        "stop that process, or prove it as it is with the URL variables",
        Exit.FAILED,
    )


def describe_owner(port: int) -> str:
    """The process that listens on a port, for people."""
    try:
        owners = {row.pid for row in listeners([port]) if row.pid}
        for pid in sorted(owners):
            process = psutil.Process(pid)
            return f"pid {pid} ({' '.join(process.cmdline())[:120] or process.name()})"
    except psutil.Error:
        pass
    return "another process (which one is not visible to this user)"


def _rows(connections: Iterable[Any], pid: int | None = None) -> list[tuple[int, int | None]]:
    return [
        (row.laddr.port, pid or getattr(row, "pid", None))
        for row in connections
        if row.status == psutil.CONN_LISTEN and row.laddr
    ]
