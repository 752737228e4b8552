"""Restarts: a service is the same one at every look, or it was restarted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from detectors.finding import FAILED, NOT_JUDGED, PASSED, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class Identity:
    """What tells one life of a service from the next.

    Args:
        pid: of its first process …
        birth: … and when that began, because a pid comes again.
        container_id: or its container …
        started_at: … and when that was started …
        restart_count: … and how often its engine restarted it.
        gone: somebody looked, and there was no such process or container.
    """

    pid: int | None = None
    birth: str | None = None
    container_id: str | None = None
    started_at: str | None = None
    restart_count: int | None = None
    gone: bool = False

    @property
    def known(self) -> bool:
        """Whether it tells lives apart: a pid alone or a container's id alone does not."""
        process = self.pid is not None and bool(self.birth)
        return self.gone or process or (bool(self.container_id) and bool(self.started_at))


GONE = Identity(gone=True)


@dataclass
class _Life:
    identity: Identity | None = None
    looks: int = 0
    unseen: int = 0
    unseen_first: bool = False
    unseen_last: bool = False
    restarts: int = 0
    changed: str = ""
    changed_seconds: float | None = None


class RestartWatch:
    """Remembers who each service is; constant memory however long the run.

    A look that saw nothing (None) in between is harmless, because the identity after it
    is the one before it; at the beginning or the end it leaves the service not judged.

    Args:
        services: all that must be seen; one that never is, is not judged.
    """

    def __init__(self, services: Iterable[str]) -> None:
        """See the class."""
        self._lives = {service: _Life() for service in services}

    def saw(self, at_seconds: float, identities: Mapping[str, Identity | None]) -> None:
        """Take one look at all services; one that is not in it was not seen."""
        for service, life in self._lives.items():
            _look(life, at_seconds, identities.get(service))

    def check(self) -> list[Finding]:
        """One finding for each service."""
        return [_judge(service, life) for service, life in self._lives.items()]


def judge_restarts(subject: str, looks: Iterable[tuple[float, Identity | None]]) -> Finding:
    """One service's looks, in order: (seconds, who it was)."""
    watch = RestartWatch([subject])
    for at_seconds, identity in looks:
        watch.saw(at_seconds, {subject: identity})
    return watch.check()[0]


def _look(life: _Life, at_seconds: float, identity: Identity | None) -> None:
    life.looks += 1
    life.unseen_last = identity is None or not identity.known
    if identity is None or not identity.known:
        life.unseen += 1
        # Whatever happened before the first sight is hidden.
        life.unseen_first |= life.identity is None
        return
    changed = _difference(life.identity, identity)
    came_back = life.identity is not None and life.identity.gone
    if changed and not came_back:
        life.restarts += 1
        if not life.changed:
            life.changed, life.changed_seconds = changed, at_seconds
    life.identity = identity


def _judge(service: str, life: _Life) -> Finding:
    seen = life.looks - life.unseen
    figures: dict[str, float | int | None] = {
        "looks": life.looks,
        "unseen": life.unseen,
        "restarts": life.restarts,
    }
    if life.restarts:
        detail = f"expected no restart, got {life.restarts}: {life.changed} "
        detail += f"at {life.changed_seconds:g} s"
        return Finding("restart", service, FAILED, detail, life.changed_seconds, figures)
    if seen < 2 or life.unseen_first or life.unseen_last:  # noqa: PLR2004 - before and after
        detail = "expected to know who it was at the first and the last of two looks or more, "
        detail += f"got it in {seen} of {life.looks}"
        return Finding("restart", service, NOT_JUDGED, detail, None, figures)
    detail = f"expected no restart, got the same identity in {seen} of {life.looks} looks"
    return Finding("restart", service, PASSED, detail, None, figures)


def _difference(before: Identity | None, after: Identity) -> str:
    """What changed; what only one look could see is no change. Empty where nothing did."""
    if before is None or before == after:
        return "gone" if before is None and after.gone else ""
    if after.gone:
        return "gone"
    old, new = asdict(before), asdict(after)
    both = [name for name in old if old[name] is not None and new[name] is not None]
    changes = [f"{name} {old[name]} → {new[name]}" for name in both if old[name] != new[name]]
    # A process now and a container before have nothing in common that could be the same.
    return ", ".join(changes) or ("" if {"birth", "started_at"} & {*both} else "another kind")
