"""Which very process or container a service is: another one means that it was restarted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from stack import ports, records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from stack.model import Service


@dataclass(frozen=True)
class Identity:
    """A service as it runs now.

    `key` is the same as long as nothing was restarted, and empty where the service has
    ended. `pid` is on this machine; `container` is an id of the runtime's engine.
    """

    key: str
    pid: int | None = None
    container: str = ""
    restarts: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing runs there any more."""
        return not self.key


def of_process(pid: int, born: str) -> Identity:
    """The identity of a process that was started with this birth (stack/records.py)."""
    if records.same_process(pid, born) is None:
        return Identity("")
    return Identity(f"{pid}@{born}", pid)


def of_listeners(services: Iterable[Service]) -> dict[str, Identity | None]:
    """The process behind each service of this machine; None where it can't be seen."""
    services = [*services]
    wanted = ports.local_ports(services)
    found: dict[str, Identity | None] = dict.fromkeys(item.name for item in services)
    try:
        pids = {row.port: row.pid for row in ports.listeners(wanted.values()) if row.pid}
    except (psutil.Error, OSError):
        return found
    for name, port in wanted.items():
        if pid := pids.get(port):
            found[name] = of_process(pid, records.birth(pid))
    return found


def as_keys(identities: Mapping[str, Identity | None]) -> dict[str, str | None]:
    """What tells one start from the next, by service; None where it can't be seen."""
    return {name: None if item is None else item.key for name, item in identities.items()}
