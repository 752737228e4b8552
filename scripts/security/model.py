"""What attacks a system: the `security` section of a stack file, and its corpora, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NOBODY = "nobody"
CLOSED = "closed"


@dataclass(frozen=True)
class ServiceTokens:
    """How a call between services is signed, so that attacks can forge it.

    `claims` and `token_header` hold placeholders; the keys' places are by runtime.
    """

    header: str
    lifetime_seconds: float
    claims: Mapping[str, Any]
    token_header: Mapping[str, Any]
    private_key: Mapping[str, str]


@dataclass(frozen=True)
class Control:
    """Something that stops attacks, and the services in which it can be switched off."""

    id: str
    says: str
    services: tuple[str, ...]


@dataclass(frozen=True)
class Fuzz:
    """What the fuzzer can't read from OpenAPI documents.

    `schemes` says who speaks under a security scheme; `parameters` where real ids come from.
    """

    document: str = "/openapi.json"
    public: tuple[str, ...] = ()
    skip_services: tuple[str, ...] = ()
    schemes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bodies: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Security:
    """The `security` section of a stack file.

    Args:
        corpora: files, relative to the stack file.
        identities: headers of whom a request may come from.
        places: where effects are looked for: name -> runtime -> path.
        watched: places that no request may ever change.
        never: texts that no answer may hold, whatever was asked.
        weakened: the command that starts a service without one control.
        reports: what the system says of its own controls, and what must be so.
        secret_rules: the rules of the secret scan, relative to the stack file; None is ours.
        secret_baseline: what is known in the checkout and its history.
    """

    corpora: tuple[str, ...]
    identities: Mapping[str, Mapping[str, str]]
    controls: tuple[Control, ...]
    tokens: ServiceTokens | None = None
    places: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    watched: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    weakened: tuple[str, ...] = ()
    fuzz: Fuzz = field(default_factory=Fuzz)
    reports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secret_rules: str | None = None
    secret_baseline: str | None = None

    def control(self, name: str) -> Control:
        """The control of that name; the loader made sure that it exists."""
        return next(item for item in self.controls if item.id == name)


@dataclass(frozen=True)
class Case:
    """One attack, merged with its template; texts still hold their placeholders.

    `attack` and the requests of `given`, `twin` and `then` are as in
    schemas/security_corpus.schema.json.
    """

    id: str
    family: str
    evidence: str
    control: str
    source: str
    says: str
    attack: Mapping[str, Any]
    expect: Mapping[str, Any]
    payload: Any = None
    bulk: str = ""
    twin: Mapping[str, Any] | None = None
    no_twin: str | None = None
    given: tuple[Mapping[str, Any], ...] = ()
    plant: tuple[Mapping[str, Any], ...] = ()
    then: tuple[Mapping[str, Any], ...] = ()
    no_effect: str | None = None


@dataclass(frozen=True)
class Problem:
    """Something that must not have been: its kind, and one line without a secret."""

    kind: str
    text: str


@dataclass(frozen=True)
class CaseResult:
    """What came of a case: held, bypassed, unexpected, vacuous or not_run."""

    case: Case
    outcome: str
    expected: str
    got: str
    problems: tuple[Problem, ...] = ()
    status: int | None = None
    server_errors: int = 0
    seconds: float = 0.0
    checks: tuple[str, ...] = ()


HELD, BYPASSED, UNEXPECTED = "held", "bypassed", "unexpected"
VACUOUS, NOT_RUN = "vacuous", "not_run"
OUTCOMES = (HELD, BYPASSED, UNEXPECTED, VACUOUS, NOT_RUN)
