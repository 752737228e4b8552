"""The `traffic` section of a stack file as frozen dataclasses (G2)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stack.placeholders import unknown_placeholders

if TYPE_CHECKING:
    from collections.abc import Mapping
    from fractions import Fraction

TIMEOUT_SECONDS = 10.0
CAPTURE = "capture:"


@dataclass(frozen=True)
class Expect:
    """What a good answer is; JSON keys are JSON Pointers (RFC 6901)."""

    status: int
    json: Mapping[str, Any] = field(default_factory=dict)
    contains: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One request of a profile; texts still hold their placeholders.

    Args:
        name: what errors and evidence call it.
        bodies: sent in turn, one a start of the profile; (None,) where there is no body.
        capture: name to JSON Pointer: what later steps need of this answer.
        after_seconds: pause between the answer before and this request.
        proves_end: a good answer proves that what the profile made is gone.
    """

    name: str
    method: str
    path: str
    headers: Mapping[str, str]
    bodies: tuple[Mapping[str, Any] | None, ...]
    expect: Expect
    capture: Mapping[str, str] = field(default_factory=dict)
    after_seconds: float = 0.0
    proves_end: bool = False

    @property
    def needs(self) -> frozenset[str]:
        """The captures without which this step can't be sent."""
        texts = [self.path, dict(self.headers), [*self.bodies]]
        found = (name for _, name in unknown_placeholders(texts, ()))
        return frozenset(name for name in found if name.startswith(CAPTURE))


@dataclass(frozen=True)
class Profile:
    """One kind of use of the system, started at a fixed rate.

    `interval_seconds` is exact, so that 48 hours have exactly as many starts as they should.
    `first_token` is the text that marks the first token of a streamed answer, else None.
    """

    name: str
    service: str
    interval_seconds: Fraction
    steps: tuple[Step, ...]
    timeout_seconds: float = TIMEOUT_SECONDS
    first_token: str | None = None

    @property
    def per_second(self) -> float:
        """Starts a second."""
        return float(1 / self.interval_seconds)

    @property
    def end_step(self) -> int | None:
        """The step that proves that what the profile made is gone, if there is one."""
        return next((at for at, step in enumerate(self.steps) if step.proves_end), None)

    def as_json(self) -> dict[str, Any]:
        """What evidence and journals say about it; no header, body or secret."""
        return {
            "name": self.name,
            "service": self.service,
            "per_second": self.per_second,
            "timeout_seconds": self.timeout_seconds,
            "stream": self.first_token is not None,
            "steps": [step.name for step in self.steps],
        }
